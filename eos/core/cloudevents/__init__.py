"""CloudEvents 1.0 over Kafka and over HTTP: the two bindings and the JSON format.

event       what an event is, and which attributes are none
as_json     the JSON event format, one event or a batch
over_kafka  records: binary mode both ways, structured mode on the way in
over_http   requests and answers: binary, structured, batched
"""

from eos.core.cloudevents.event import Event, MalformedEventError
from eos.core.cloudevents.over_http import Mode, batch_to_http, of_http, to_http
from eos.core.cloudevents.over_kafka import of_record, to_record

__all__ = [
    "Event",
    "MalformedEventError",
    "Mode",
    "batch_to_http",
    "of_http",
    "of_record",
    "to_http",
    "to_record",
]
