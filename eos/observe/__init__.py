"""What users see of a running line: metrics and logs. Both listen to `eos.core.events`."""

from eos.core.events import Emit, Event


def fan_out(*listeners: Emit) -> Emit:
    """Give one listener that tells all of these, in this order."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell
