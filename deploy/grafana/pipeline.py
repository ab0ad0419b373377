"""How records flow: the line, its transactions, and what a sidecar does."""

from deploy.grafana.board import Board, Panel
from deploy.grafana.queries import GROUP, TOPIC, gauge, mean, quantiles, rate

BOARD = Board(
    "pipeline",
    "eos / Pipeline",
    [
        (
            "Flow",
            [
                Panel(
                    "Settled a second",
                    "cps",
                    "Records whose offsets were committed.",
                    [(rate("eos_records_settled_total", "group, topic"), "{{group}} {{topic}}")],
                ),
                Panel(
                    "Published a second",
                    "cps",
                    "Messages of committed transactions, dead letters among them.",
                    [(rate("eos_outputs_total", "group", GROUP), "{{group}}")],
                ),
                Panel(
                    "In flight",
                    "short",
                    "Records that are claimed and not settled yet.",
                    [(gauge("eos_in_flight_records", "group", GROUP), "{{group}}")],
                ),
            ],
        ),
        (
            "Transactions",
            [
                Panel(
                    "Transactions a second by outcome",
                    "cps",
                    "resolved: the answer was lost, and the offsets say it went through.",
                    [(rate("eos_transactions_total", "outcome", GROUP), "{{outcome}}")],
                ),
                Panel(
                    "Duration of a transaction",
                    "s",
                    "From begin to the answer of the commit.",
                    quantiles("eos_transaction_duration_seconds"),
                ),
                Panel(
                    "Records in a transaction",
                    "short",
                    "The mean. Few with much traffic: commit_interval is too short.",
                    [(mean("eos_transaction_records", "group"), "{{group}}")],
                ),
            ],
        ),
        (
            "Failures",
            [
                Panel(
                    "Work given up, by cause",
                    "cps",
                    "It is done again; nothing is lost. What a cause means, the reference says.",
                    [(f"{rate('eos_aborts_total', 'cause', GROUP)} > 0", "{{cause}}")],
                ),
                Panel(
                    "Waiting for servers",
                    "cps",
                    "Pauses for a server. frontier: an open transaction is in the way.",
                    [(rate("eos_waits_total", "on", GROUP), "{{on}}")],
                ),
                Panel(
                    "Producers replaced, by reason",
                    "cps",
                    "After an error whose outcome is not known.",
                    [(rate("eos_producers_recreated_total", "reason", GROUP), "{{reason}}")],
                ),
            ],
        ),
        (
            "Handlers",
            [
                Panel(
                    "Retries a second",
                    "cps",
                    "Handlers that failed and were tried again.",
                    [(rate("eos_handler_retries_total", "topic"), "{{topic}}")],
                ),
                Panel(
                    "Dead letters a second by reason",
                    "cps",
                    "Records that could not be handled. `eos dlq list` shows them.",
                    [(rate("eos_dead_letters_total", "topic, reason"), "{{topic}} {{reason}}")],
                ),
                Panel(
                    "Partitions that wait for an operator",
                    "short",
                    "An offset was set back, or the log was cut off.",
                    [(gauge("eos_halted_partitions", "topic"), "{{topic}}")],
                ),
            ],
        ),
        (
            "Nothing gets lost",
            [
                Panel(
                    "Claimed and nowhere",
                    "short",
                    "0, but for a batch that is being counted just now.",
                    [(f"eos:conservation:difference{{{GROUP}}}", "{{group}}")],
                ),
                Panel(
                    "Given back and abandoned a second",
                    "cps",
                    "Records that an abort gave back, or whose worker died. They come again.",
                    [
                        (rate("eos_records_given_back_total", "group", GROUP), "given back"),
                        (rate("eos_records_abandoned_total", "group", GROUP), "abandoned"),
                    ],
                ),
                Panel(
                    "Workers inside a transaction",
                    "short",
                    "Of those that are alive.",
                    [(gauge("eos_committing", "group", GROUP), "{{group}}")],
                ),
            ],
        ),
        (
            "Sidecar: pushes to the app",
            [
                Panel(
                    "Pushes a second by fate",
                    "cps",
                    "What became of events that were pushed.",
                    [(rate("eos_pushes_total", "fate"), "{{fate}}")],
                ),
                Panel(
                    "Time that the app takes",
                    "s",
                    "For one event, or one batch.",
                    quantiles("eos_push_duration_seconds", TOPIC),
                ),
                Panel(
                    "App away",
                    "bool",
                    "Whether a sidecar takes its app to be away.",
                    [(gauge("eos_app_away", over="max"), "{{group}} {{topic}}")],
                ),
            ],
        ),
        (
            "Sidecar: calls that publish",
            [
                Panel(
                    "Calls a second by status",
                    "cps",
                    "409: one like it is in flight. 422: a key was used for another payload.",
                    [(rate("eos_publish_calls_total", "status", GROUP), "{{status}}")],
                ),
                Panel(
                    "Time until the answer",
                    "s",
                    "A call is answered when what it asks for is published.",
                    quantiles("eos_publish_call_duration_seconds"),
                ),
            ],
        ),
    ],
)
