"""Real Apache Kafka, Redis and PostgreSQL on this machine, for development, tests and the demo.

`running()` opens a stack for as long as a `with` block lasts; `eos dev up` keeps one until
`eos dev down`. All servers live in one process group under a guardian (see `guardian.py`), which
kills them when the process that opened the stack dies.

    with eos.devstack.running() as stack:
        producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
        stack.brokers[0].kill()
        stack.brokers[0].start()
"""

from eos.devstack.errors import DevStackError
from eos.devstack.folder import DevStack
from eos.devstack.server import Server
from eos.devstack.stack import Stack, running

__all__ = ["DevStack", "DevStackError", "Server", "Stack", "running"]
