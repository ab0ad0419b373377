"""What the demo and its worker processes agree on, handed over by the environment."""

import os
from dataclasses import dataclass

_RUN = "EOS_DEMO_RUN"
_SERVERS = "EOS_DEMO_SERVERS"
_REDIS = "EOS_DEMO_REDIS"

MEMBERSHIP = {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500}
"""Both loops notice a dead member after three seconds."""


@dataclass(frozen=True, slots=True)
class Names:
    """Topics and groups of one run: each run has its own, so that servers can be shared.

    Attributes:
        run: Names the run.
        bootstrap_servers: Kafka.
        redis_url: Redis.
    """

    run: str
    bootstrap_servers: str
    redis_url: str

    @property
    def orders(self) -> str:
        """The topic of orders."""
        return f"{self.run}.orders"

    @property
    def charges(self) -> str:
        """Where the eos workers publish their effects."""
        return f"{self.run}.charges"

    @property
    def plain_charges(self) -> str:
        """Where the plain loop publishes its effects."""
        return f"{self.run}.plain-charges"

    @property
    def group(self) -> str:
        """The group of the eos workers."""
        return f"{self.run}.eos"

    @property
    def plain_group(self) -> str:
        """The group of the plain loop."""
        return f"{self.run}.plain"

    def environment(self) -> dict[str, str]:
        """Give the variables for worker processes."""
        return {_RUN: self.run, _SERVERS: self.bootstrap_servers, _REDIS: self.redis_url}

    @classmethod
    def of_environment(cls) -> "Names":
        """Read what `environment` gave."""
        return cls(os.environ[_RUN], os.environ[_SERVERS], os.environ[_REDIS])
