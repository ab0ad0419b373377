"""What travels beside a committed offset."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from eos.core.frontier import INBOX, PLAIN, TRANSACTION, Frontier, Replay, parse

EXAMPLES = int(os.environ.get("EOS_EXAMPLES", "200"))

offsets = st.integers(0, 2**62)
replays = st.builds(
    Replay,
    offsets,
    offsets,
    st.text("0123456789abcdef", max_size=12),
    st.frozensets(st.binary(min_size=12, max_size=12), max_size=20),
)
frontiers = st.builds(
    Frontier,
    offsets,
    st.integers(0, 1000),
    ours=st.just(True),
    note=st.text(max_size=40),
    tier=st.sampled_from([TRANSACTION, INBOX, PLAIN]),
    replay=st.none() | replays,
    topic_id=st.sampled_from(["", "5x1tVbBmRxKpYzqkzWc5Wg", "-_xtVbBmRxKpYzqkzWc5W-"]),
    leader_epoch=st.just(-1),  # Kafka has a field for it
)


@given(frontiers)
@settings(max_examples=EXAMPLES, deadline=None)
def test_what_is_committed_is_what_is_read(frontier: Frontier) -> None:
    assert parse(frontier.offset, frontier.metadata) == frontier


@given(st.text(max_size=60) | st.none())
@settings(max_examples=EXAMPLES, deadline=None)
def test_what_others_wrote_is_their_note(metadata: str | None) -> None:
    found = parse(7, metadata)
    assert found.ours or found == Frontier(7, ours=False, note=metadata or "")


def test_what_only_begins_like_ours_is_theirs() -> None:
    for told in ("eos1", "eos1;x;", "eos1;-1;", "eos1;1,peak=x;", "eos1;1,peak=2,key=é;", "eos1;;"):
        assert parse(7, told) == Frontier(7, ours=False, note=told), told


def test_an_offset_of_a_topic_that_was_deleted_is_not_of_its_successor() -> None:
    assert Frontier(3, topic_id="old").is_of("old")
    assert not Frontier(3, topic_id="old").is_of("new")
    assert Frontier(3).is_of("new"), "nobody said"


def test_what_an_earlier_version_wrote_is_ours() -> None:
    assert parse(7, "eos1;2;note;of;mine") == Frontier(7, 2, note="note;of;mine")


def test_a_long_note_is_cut_and_nothing_else() -> None:
    replay = Replay(10, 9, "run", frozenset(n.to_bytes(12, "big") for n in range(150)))
    frontier = Frontier(3, note="n" * 5000, tier=INBOX, replay=replay)
    found = parse(3, frontier.metadata)
    assert len(frontier.metadata.encode()) == 4096
    assert (found.tier, found.replay) == (INBOX, replay)


def test_a_replay_handles_what_stands_below_its_end_and_has_its_keys() -> None:
    replay = Replay(peak=10, until=6)
    assert [replay.handles(offset, b"") for offset in (0, 5, 6, 9, 10)] == [
        True,
        True,
        False,
        False,
        True,
    ]
    some = Replay(10, 10, keys=frozenset({b"a"}))
    assert [some.handles(5, digest) for digest in (b"a", b"b", b"")] == [True, False, False]
    assert some.handles(10, b"b"), "behind it all is handled"
