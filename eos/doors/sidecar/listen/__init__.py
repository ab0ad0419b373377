"""The server.

http       what is answered where
callers    who may call
tls        certificates
protocol   how long a client is waited for, and how much of it is read
bodies     bodies, within limits
problems   errors as `application/problem+json`
status     how the sidecar fares
openapi    the document of it all
"""
