"""What the demo and its worker processes agree on, handed over by the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RUN = "EOS_DEMO_RUN"
_SERVERS = "EOS_DEMO_SERVERS"
_LEDGER = "EOS_DEMO_LEDGER"
_FOLDER = "EOS_DEMO_FOLDER"

MEMBERSHIP = {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500}
"""Both loops notice a dead member after three seconds."""
MEMBERSHIP_OF_MOCK = {"session.timeout.ms": 2200, "heartbeat.interval.ms": 300}
"""As short as the mock broker allows (see `eos.demo.mock.led`)."""


@dataclass(frozen=True, slots=True)
class Names:
    """Topics, groups and files of one run: each run has its own, so that places can be shared.

    Attributes:
        run: Names the run.
        bootstrap_servers: Kafka, or what stands in its place.
        ledger: The ledger's URL.
        folder: Where files are.
    """

    run: str
    bootstrap_servers: str
    ledger: str
    folder: str

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

    @property
    def groups(self) -> tuple[str, str]:
        """Both."""
        return self.group, self.plain_group

    @property
    def database(self) -> str:
        """The SQLite file of the eos workers, where they have no servers: ledger and effects."""
        return self.ledger.removeprefix("sqlite:///")

    @property
    def plain_database(self) -> str:
        """The SQLite file of the plain loop, likewise."""
        return f"{self.folder}/{self.run}-plain.db"

    def arrival(self, slot: int) -> Path:
        """Name the file that an eos worker of this slot makes when it gets partitions."""
        return Path(self.folder) / f"{self.run}-arrived-{slot}"

    def settings(self, membership: Mapping[str, int]) -> dict[str, Any]:
        """Give the settings of the eos workers."""
        return {
            "group": self.group,
            "brokers": self.bootstrap_servers,
            "ledger": self.ledger,
            "kafka": membership,
            "instance": "demo",
        }

    def environment(self) -> dict[str, str]:
        """Give the variables for worker processes."""
        return {
            _RUN: self.run,
            _SERVERS: self.bootstrap_servers,
            _LEDGER: self.ledger,
            _FOLDER: self.folder,
        }

    @classmethod
    def of_environment(cls) -> "Names":
        """Read what `environment` gave."""
        return cls(*(os.environ[name] for name in (_RUN, _SERVERS, _LEDGER, _FOLDER)))
