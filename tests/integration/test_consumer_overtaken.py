"""A loop that was overtaken repeats nothing of what its successor settled."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition

from tests.integration.cluster import Cluster, Input
from tests.integration.consumer_loops import group_conf, looping, take


def test_what_somebody_else_settled_meanwhile_is_not_handed_out_again(
    cluster: Cluster,
    topic: Callable[..., str],
    bootstrap_servers: str,
    redis_url: str,
    namespace: str,
) -> None:
    name = topic("orders")
    cluster.send(name, [Input(f"id-{n}", 0) for n in range(60)])
    conf: dict[str, Any] = group_conf(bootstrap_servers, namespace)
    conf["enable.auto.commit"] = False
    with looping(conf, redis_url) as first, looping(conf, redis_url) as other:
        first.assign([TopicPartition(name, 0)])
        take(first, 5)
        first.commit(asynchronous=False)
        take(first, 5)  # in hand, and not settled
        other.assign([TopicPartition(name, 0)])
        assert [message.offset() for message in take(other, 20)] == list(range(5, 25))
        other.commit(asynchronous=False)

        with pytest.raises(KafkaException, match="taken a partition over"):
            first.commit(asynchronous=False)
        assert [message.offset() for message in take(first, 3)] == [25, 26, 27]
