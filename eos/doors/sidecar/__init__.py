"""The door for a program in any language: HTTP both ways.

config     what it is told: read from a file and the environment, checked, shown
deliver    records → the app: a handler of the line that makes calls
publish    calls → Kafka: a call becomes a record, and the line publishes what it asks for
listen     the server: who may call, how long it is waited for, health, the OpenAPI document
sidecar    all of it in one process
"""
