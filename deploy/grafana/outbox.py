"""What waits in the outbox, and how relays publish it."""

from deploy.grafana.board import Board, Panel
from deploy.grafana.queries import GROUP, gauge, increase, mean, quantiles, rate

BOARD = Board(
    "outbox",
    "eos / Outbox",
    [
        (
            "Waiting",
            [
                Panel(
                    "Rows to be published",
                    "short",
                    "One relay counts them.",
                    [(gauge("eos_outbox_rows", "group", GROUP), "{{group}}")],
                ),
                Panel(
                    "Age of the oldest",
                    "s",
                    "It grows: no relay runs, a server is away, or it is too slow.",
                    [(gauge("eos_outbox_oldest_seconds", "group", GROUP, over="max"), "{{group}}")],
                ),
                Panel(
                    "Scheduled, and put aside",
                    "short",
                    "Rows that wait for their time, and rows that Kafka does not take.",
                    [
                        (gauge("eos_outbox_scheduled_rows", "group", GROUP), "scheduled"),
                        (gauge("eos_outbox_dead_rows", "group", GROUP), "put aside"),
                    ],
                ),
            ],
        ),
        (
            "Publishing",
            [
                Panel(
                    "Published a second by shard",
                    "cps",
                    "A shard that stands out has a key that does.",
                    [(rate("eos_outbox_published_total", "shard", GROUP), "{{shard}}")],
                ),
                Panel(
                    "Rows in a batch",
                    "short",
                    "The mean.",
                    [(mean("eos_outbox_batch_rows", "group"), "{{group}}")],
                ),
                Panel(
                    "Duration of a batch",
                    "s",
                    "From begin to the answer of the commit.",
                    quantiles("eos_outbox_publish_duration_seconds"),
                ),
                Panel(
                    "From added to published",
                    "s",
                    "Of the oldest row of each batch.",
                    quantiles("eos_outbox_wait_seconds"),
                ),
            ],
        ),
        (
            "Trouble",
            [
                Panel(
                    "Take-overs in this time",
                    "short",
                    "A relay took over a shard, or began anew with one.",
                    [(increase("eos_outbox_takeovers_total", labels=GROUP), "")],
                    number=True,
                ),
                Panel(
                    "Put aside in this time, by reason",
                    "short",
                    "`eos outbox redrive` has them published when the reason is gone.",
                    [
                        (
                            increase("eos_outbox_dead_total", "reason", GROUP),
                            "{{reason}}",
                        )
                    ],
                    number=True,
                ),
            ],
        ),
    ],
    topics=False,
)
