"""Topics on a stack, for people who try things out."""

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from eos.devstack.errors import DevStackError

_SECONDS = 30.0


def create(servers: str, names: Sequence[str], partitions: int) -> dict[str, bool]:
    """Create topics.

    Returns:
        For each name whether it is new; False if there is such a topic already.

    Raises:
        DevStackError: The brokers refuse, or do not answer.
    """
    wanted = [NewTopic(name, num_partitions=partitions) for name in names]
    admin, made = AdminClient({"bootstrap.servers": servers}), {}
    for name, answer in admin.create_topics(wanted).items():
        try:
            answer.result(_SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise DevStackError(f"topic {name}: {error.args[0].str()}") from error
            made[name] = False
        else:
            made[name] = True
    return made
