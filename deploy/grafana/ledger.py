"""Whether the ledger is whole, and what the log has lost."""

from deploy.grafana.board import Board, Panel
from deploy.grafana.queries import gauge, increase, mean, rate

BOARD = Board(
    "ledger",
    "eos / Ledger",
    [
        (
            "Recovery",
            [
                Panel(
                    "Left to read again",
                    "short",
                    "A ledger that was lost is rebuilt from the log. The topic waits meanwhile.",
                    [
                        (
                            gauge("eos_recovery_left_offsets", over="max"),
                            "{{group}} {{topic}}",
                        )
                    ],
                ),
                Panel(
                    "Read again a second",
                    "cps",
                    "Records that recoveries read, over all workers.",
                    [(rate("eos_recovery_records_total", "topic"), "{{topic}}")],
                ),
                Panel(
                    "Recoveries in this time, by cause",
                    "short",
                    "closed: the ledger was lost. gap: it lacked claims of a partition.",
                    [
                        (
                            increase("eos_recoveries_total", "topic, cause"),
                            "{{topic}} {{cause}}",
                        )
                    ],
                    number=True,
                ),
            ],
        ),
        (
            "Window, and what the log lost",
            [
                Panel(
                    "Generations alive",
                    "short",
                    "More and more of them: a partition stands still in log time.",
                    [
                        (
                            gauge("eos_ledger_generations", over="max"),
                            "{{group}} {{topic}}",
                        )
                    ],
                ),
                Panel(
                    "How long recoveries take",
                    "s",
                    "The mean, for a worker that takes part.",
                    [(mean("eos_recovery_duration_seconds", "group"), "{{group}}")],
                ),
                Panel(
                    "Lost by the log in this time",
                    "short",
                    "Offsets that were gone before they were handled.",
                    [
                        (
                            increase("eos_gap_records_total", "topic, cause"),
                            "{{topic}} {{cause}}",
                        )
                    ],
                    number=True,
                ),
            ],
        ),
    ],
)
