"""Calls → Kafka.

endpoint      answers a call
asking        what a call asks for, read from HTTP
envelope      the same as a record, and read from it again
publication   the calls that wait for their records, and the handler of the line
"""
