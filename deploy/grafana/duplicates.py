"""How many duplicates there are, and from where."""

from deploy.grafana.board import Board, Panel
from deploy.grafana.queries import TOPIC, gauge, increase, rate

_DUPLICATES = f"sum(eos:duplicates:rate5m{{{TOPIC}}})"
_RECORDS = f"sum(eos:records:rate5m{{{TOPIC}}})"
_CONFLICT = f'{TOPIC}, verdict="conflict"'

BOARD = Board(
    "duplicates",
    "eos / Duplicates",
    [
        (
            "How many",
            [
                Panel(
                    "Duplicate ratio",
                    "percentunit",
                    "The share of duplicates in what was settled in the last five minutes.",
                    [(f"{_DUPLICATES} / ({_RECORDS} > 0)", "")],
                    number=True,
                ),
                Panel(
                    "Suppressed in this time",
                    "short",
                    "Duplicates that were not handled.",
                    [(increase("eos_duplicates_suppressed_total"), "")],
                    number=True,
                ),
                Panel(
                    "Conflicts in this time",
                    "short",
                    "Records with the key of another one, and another payload.",
                    [(increase("eos_records_settled_total", labels=_CONFLICT), "")],
                    number=True,
                ),
            ],
        ),
        (
            "From where",
            [
                Panel(
                    "Duplicate ratio by topic",
                    "percentunit",
                    "What stands out has a producer that sends twice, or many rebalances.",
                    [(f"eos:duplicate_ratio:rate5m{{{TOPIC}}}", "{{group}} {{topic}}")],
                ),
                Panel(
                    "Duplicates a second by cause",
                    "cps",
                    "redelivery: the group read it again. resend: a producer sent it again.",
                    [
                        (
                            gauge("eos:duplicates:rate5m", "cause"),
                            "{{cause}}",
                        )
                    ],
                ),
            ],
        ),
        (
            "Verdicts",
            [
                Panel(
                    "Claimed a second by verdict",
                    "cps",
                    "What the ledger said of each record.",
                    [(rate("eos_records_total", "verdict"), "{{verdict}}")],
                ),
                Panel(
                    "Not as sure as the others",
                    "cps",
                    "No key; let through without the ledger; in doubt after a crash.",
                    [
                        (rate("eos_missing_keys_total", "topic"), "without a key {{topic}}"),
                        (rate("eos_records_unchecked_total", "topic"), "unchecked {{topic}}"),
                        (rate("eos_records_in_doubt_total", "topic"), "in doubt {{topic}}"),
                    ],
                ),
            ],
        ),
    ],
)
