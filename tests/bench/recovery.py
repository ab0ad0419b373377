"""How fast a lost ledger is rebuilt: records of 1 KB, settled and then forgotten by Redis.

Run it with `python -m tests.bench.recovery`. The group's offsets stand at the end of a topic of
four partitions; a worker starts on an empty Redis, reads all of it again and puts the owners back.
Then Redis is restarted with its data, and the worker looks whether it lost anything.
"""

import argparse

from confluent_kafka import Consumer, TopicPartition

from eos.core.events import Recovered
from eos.core.frontier import Frontier
from eos.core.settings import Settings
from eos.devstack import running
from tests.bench.pipeline import PARTITIONS, fill
from tests.integration.cluster import Cluster, Input
from tests.integration.lines import Running, step


def main() -> None:
    """Measure, and print what is seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=400_000)
    arguments = parser.parse_args()
    with running() as stack:
        fill(stack.bootstrap_servers, arguments.records)
        cluster = Cluster(stack.bootstrap_servers)
        to = cluster.create("out")
        settings = Settings(
            group="recovery", brokers=stack.bootstrap_servers, ledger=stack.redis_url
        )
        _settle(settings)
        with Running(settings, [step("in", to)]) as line:
            cluster.send("in", [Input("one more", 0)])
            line.until(lambda line: line.saw(Recovered), "the recovery")
            cluster.await_settled(settings.group, "in")
            _tell("nothing left", line.saw(Recovered)[0])
            stack.redis.restart()
            cluster.send("in", [Input("another", 0)])
            line.until(lambda line: len(line.saw(Recovered)) > 1, "the second one")
            cluster.await_settled(settings.group, "in")
            _tell("all still there", line.saw(Recovered)[1])


def _settle(settings: Settings) -> None:
    """Let the group stand at the end of the topic."""
    consumer = Consumer({"bootstrap.servers": settings.brokers, "group.id": settings.group})
    ends = [
        TopicPartition(
            "in",
            number,
            end := consumer.get_watermark_offsets(TopicPartition("in", number))[1],
            Frontier(end).metadata,
        )
        for number in range(PARTITIONS)
    ]
    consumer.commit(offsets=ends, asynchronous=False)
    consumer.close()


def _tell(what: str, event: Recovered) -> None:
    rate = event.records / event.seconds
    print(f"{what:16} {event.records:9,} records in {event.seconds:6.2f} s: {rate:9,.0f}/s")


if __name__ == "__main__":
    main()
