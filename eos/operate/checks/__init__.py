"""Rules by which `eos check` judges what servers tell. No I/O: adapters bring the facts."""

from eos.operate.checks.finding import Finding, Level, fault, of_error, ok, warning
from eos.operate.checks.running import Check, Section, run
from eos.operate.checks.subject import CLUSTER_DEFAULT, OwnTopic, Role, Subject

__all__ = [
    "CLUSTER_DEFAULT",
    "Check",
    "Finding",
    "Level",
    "OwnTopic",
    "Role",
    "Section",
    "Subject",
    "fault",
    "of_error",
    "ok",
    "run",
    "warning",
]
