"""What a log says that each call of a script may give, bare or wrapped.

A `Follower` keeps the books of a consumer: which record of a partition comes next, what is stored,
what is committed. For the wrapped one alone, a record may be passed over if its key belongs to
another position.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.integration.cluster import SECONDS
from tests.integration.consumer_scripts import Mode, Script


@dataclass
class Follower:
    """Runs a script on one consumer, and checks each answer.

    Attributes:
        topic: What is read.
        log: The keys of each partition's records, by offset.
        make: Makes a consumer of the script's group, with its partitions assigned.
        mode: How it settles.
        wrapped: Whether copies are passed over.
    """

    topic: str
    log: Sequence[Sequence[str]]
    make: Callable[[], Any]
    mode: Mode
    wrapped: bool
    said: list[str] = field(default_factory=list)
    owner: dict[str, tuple[int, int]] = field(default_factory=dict)
    passed: set[tuple[int, int]] = field(default_factory=set)
    jumped: set[tuple[int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.partitions = range(len(self.log))
        self.committed = dict.fromkeys(self.partitions, (0, 0))
        self._open()

    # --- the script ---------------------------------------------------------------------------

    def run(self, script: Script) -> None:
        """Run a script, then read on to the end."""
        for name, this, that in script:
            getattr(self, name)(this, that)
        self.note("drain")
        self.consumer.resume([TopicPartition(self.topic, p) for p in self.paused])
        self.paused.clear()
        self._drain()
        self.reopen(0, 0)
        self._drain()
        self.consumer.close()
        self._check_whole()

    def poll(self, this: float, _that: float) -> None:
        message = self.consumer.poll([0, 0.02, 1.0][int(this * 3)])
        self._back()
        if message is not None:
            self._handed([message])

    def consume(self, this: float, that: float) -> None:
        number = 1 + int(this * 12)
        messages = self.consumer.consume(number, 0.05 if that < 0.5 else 0.3)
        assert len(messages) <= number
        self._back()
        self._handed(messages)

    def commit(self, this: float, _that: float) -> None:
        news = {p: end for p, end in self.ends.items() if self._is_news(p, end)}
        # What the bare client commits later is what stands there by then.
        wait = this < 0.5 or not self.wrapped
        self.note(f"commit() {wait=} {news}")
        try:
            answer = self.consumer.commit(asynchronous=not wait)
        except KafkaException as error:
            assert wait
            if error.args[0].code() != KafkaError._NO_OFFSET:  # noqa: SLF001
                raise
            assert not news or self.mode.auto_commit, (news, self.told())
            return
        assert bool(answer) == wait, self.told()
        for p in self.partitions:
            if p in news:
                self._commit(p, news[p])
            elif self._is_exact and self.at[p] >= self.base[p] > self.frontier[p]:
                # Copies behind a replay that was announced may have been passed, and count.
                least, most = self.committed[p]
                self.committed[p] = (least, max(most, self._past_copies(p, self.at[p])))

    def commit_message(self, this: float, that: float) -> None:
        if not self.handed or self._stores_late:
            return
        p, offset = self.handed[int(this * len(self.handed))]
        if offset >= self.at[p]:
            return  # handed out before a seek: it is to come again
        self.note(f"commit(message={p}@{offset})")
        self.consumer.commit(
            message=self.messages[p, offset], asynchronous=self.wrapped and that < 0.5
        )
        self._commit(p, offset + 1)

    def commit_offsets(self, this: float, that: float) -> None:
        p = int(this * len(self.partitions))
        if not (below := self.at[p]) or self._stores_late:
            return
        offset = int(that * (below + 1))
        if p in self.fresh:
            return
        self.note(f"commit(offsets={p}@{offset})")
        wanted = TopicPartition(self.topic, p, offset)
        (answer,) = self.consumer.commit(offsets=[wanted], asynchronous=False)
        assert (answer.partition, answer.offset) == (p, offset)
        self._commit(p, offset)

    def seek(self, this: float, that: float) -> None:
        p = int(this * len(self.partitions))
        offset = int(that * len(self.log[p]))
        self.note(f"seek({p}@{offset})")
        self._seek(TopicPartition(self.topic, p, offset))
        self._turn(p, offset)

    def pause(self, this: float, _that: float) -> None:
        p = int(this * len(self.partitions))
        self.note(f"pause({p})")
        self.consumer.pause([TopicPartition(self.topic, p)])
        self.paused.add(p)

    def resume(self, this: float, _that: float) -> None:
        p = int(this * len(self.partitions))
        self.note(f"resume({p})")
        self.consumer.resume([TopicPartition(self.topic, p)])
        self.paused.discard(p)

    def position(self, this: float, _that: float) -> None:
        p = int(this * len(self.partitions))
        (found,) = self.consumer.position([TopicPartition(self.topic, p)])
        self.note(f"position({p}) = {found.offset}")
        if p not in self.fresh and p not in self.sought:  # the bare client does not know then
            self._pass_over(p, self.at[p], found.offset)

    def store(self, this: float, that: float) -> None:
        if self.mode.auto_store or not self.handed:
            return
        p, offset = self.handed[-1 - int(this * min(5, len(self.handed)))]
        if offset >= self.at[p] or offset + 1 < max(self.committed[p][1], self.ends.get(p, 0)):
            return  # the client itself does now this and now that with less than is committed
        self.note(f"store({p}@{offset + 1})")
        if that < 0.5:
            self.consumer.store_offsets(self.messages[p, offset])
        else:
            self.consumer.store_offsets(offsets=[TopicPartition(self.topic, p, offset + 1)])
        if self._is_exact and offset < self.frontier[p]:
            self.ends.pop(p, 0)
        else:
            self.ends[p] = offset + 1

    def reopen(self, _this: float, _that: float) -> None:
        self.note("close()")
        self.consumer.close()
        if self.mode.auto_commit:
            for p in self.partitions:
                self._close(p)
        self._open()

    # --- the books ----------------------------------------------------------------------------

    def note(self, what: str) -> None:
        self.said.append(what)

    def told(self) -> str:
        """Give the story so far, for a test that fails."""
        return "\n".join([f"{self.mode} wrapped={self.wrapped}", *self.said])

    def _open(self) -> None:
        """Begin where the group has committed."""
        self.consumer = self.make()
        self.paused: set[int] = set()
        self.messages: dict[tuple[int, int], Any] = {}
        self.handed: list[tuple[int, int]] = []
        self.at = {p: least for p, (least, _) in self.committed.items()}
        self.most = {p: most for p, (_, most) in self.committed.items()}
        self.fresh = set(self.partitions)
        self.sought: set[int] = set()
        # One past what was handed out or stored, and the same as of before the last call.
        self.ends: dict[int, int] = {}
        self.returned: dict[int, int] = {}
        # What the ledger calls settled: a seek moves it back, and Kafka's offset stays.
        self.frontier = {p: most for p, (_, most) in self.committed.items()}
        # What was handed out below is settled, or was, before a replay of it was announced.
        self.base = dict(self.frontier)

    def _back(self) -> None:
        self.returned = dict(self.ends)

    def _handed(self, messages: Sequence[Any]) -> None:
        for message in messages:
            assert message.error() is None, message.error()
            p, offset = message.partition(), message.offset()
            key = message.value().decode()
            self.note(f"  {p}@{offset} {key}")
            assert p not in self.paused, self.told()
            assert self.log[p][offset] == key
            if p in self.fresh and offset > self.at[p]:
                self.at[p] = min(offset, self.most[p])
            self._pass_over(p, self.at[p], offset)
            if self.wrapped:
                assert self.owner.setdefault(key, (p, offset)) == (p, offset), self.told()
            self.fresh.discard(p)
            self.sought.discard(p)
            self.at[p] = offset + 1
            self.handed.append((p, offset))
            self.messages[p, offset] = message
            if self.mode.auto_store:
                self.ends[p] = offset + 1

    def _pass_over(self, p: int, start: int, end: int) -> None:
        """See that nothing of a stretch is missing but copies."""
        if not self.wrapped:
            assert start == end or end < 0, self.told()
        assert start <= end or end < 0, self.told()
        for offset in range(start, end):
            if p in self.fresh and (p, offset) in self.jumped:
                continue  # settled with what was passed over behind it
            copies = sum(part.count(self.log[p][offset]) for part in self.log)
            assert copies > 1, f"{p}@{offset} is missing\n{self.told()}"
            assert self.owner.get(self.log[p][offset]) != (p, offset), self.told()
            self.passed.add((p, offset))

    @property
    def _stores_late(self) -> bool:
        """Whether the bare client may go back, at close, to what is stored."""
        return self.mode.auto_commit and not self.mode.auto_store

    @property
    def _is_exact(self) -> bool:
        """Whether the frontier is known: a consumer that settles by itself does it some time."""
        return self.wrapped and not self.mode.auto_commit

    def _is_news(self, p: int, end: int) -> bool:
        if not self._is_exact:
            return end > self.committed[p][0]
        return end > self.frontier[p] and (end > self.base[p] or not self.mode.auto_store)

    def _commit(self, p: int, end: int) -> None:
        self.base[p] = max(self.base[p], end)
        if self.wrapped and self.mode.auto_commit:
            # What was handed out above may be settled already, or will be at close.
            most = max(end, self.ends.pop(p, 0), self.committed[p][1], self.returned.pop(p, 0))
            self.committed[p] = (end, most)
            return
        self.frontier[p] = end
        if self.wrapped and not self.mode.auto_store and self.ends.get(p, end + 1) <= end:
            del self.ends[p]  # settled: even above a replay it is no news
        self.committed[p] = (end, end)

    def _close(self, p: int) -> None:
        """Settle by itself: all that was handed out; wrapped, all that the loop came back from."""
        ends = self.returned if self.wrapped and self.mode.auto_store else self.ends
        least, most = self.committed[p]
        if ends.get(p, 0) > least:
            self.committed[p] = (ends[p], max(ends[p], most))

    def _turn(self, p: int, offset: int) -> None:
        self.jumped.update((p, o) for o in range(self.at[p], offset))
        self.frontier[p] = min(self.frontier[p], offset)
        base, self.base[p] = self.base[p], min(self.base[p], offset)
        if self.wrapped and offset < max(self.at[p], self.committed[p][1]):
            # A replay is announced. Whether Kafka's offset has come so far already, or the ledger's
            # has, is a matter of time where the consumer settles by itself.
            most = max(self.committed[p][1], self.returned.get(p, 0), self.ends.get(p, 0))
            if self.mode.auto_commit:
                self.committed[p] = (min(offset, self.committed[p][0]), most)
            for ends in (self.ends, self.returned):
                if ends.get(p, 0) <= offset:
                    continue
                if self.mode.auto_store and offset > base:
                    ends[p] = offset
                elif self.mode.auto_store or self.mode.auto_commit:
                    del ends[p]  # nothing of it is left to be settled, or it is taken back
        self.at[p] = offset
        self.handed = [(q, o) for q, o in self.handed if q != p or o < offset]  # it comes again
        self.fresh.discard(p)
        self.sought.add(p)

    def _seek(self, to: TopicPartition) -> None:
        """Seek as soon as the client can: it must have begun to read the partition."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                self.consumer.seek(to)
            except KafkaException:
                assert time.monotonic() < deadline
                self.poll(0, 0)
            else:
                return

    def _drain(self) -> None:
        deadline = time.monotonic() + SECONDS
        while missing := [
            (p, o)
            for p in self.partitions
            for o in range(self.most[p] if p in self.fresh else self.at[p], len(self.log[p]))
            if not self._may_pass(p, o)
        ]:
            assert time.monotonic() < deadline, f"{missing} never come\n{self.told()}"
            messages = self.consumer.consume(20, 0.05)
            self._back()
            self._handed(messages)

    def _may_pass(self, p: int, offset: int) -> bool:
        key = self.log[p][offset]
        owner = self.owner.get(key)
        if owner is None:  # it may be one that the script jumped over
            return self.wrapped and any(self.log[q][o] == key for q, o in self.jumped)
        return self.wrapped and owner != (p, offset)

    def _past_copies(self, p: int, offset: int) -> int:
        while offset < len(self.log[p]) and self._may_pass(p, offset):
            offset += 1
        return offset

    def _check_whole(self) -> None:
        """See that what was passed over was handed out elsewhere."""
        for p, offset in self.passed:
            assert self.owner.get(self.log[p][offset]) or self.jumped, self.told()
