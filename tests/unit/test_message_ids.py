"""The ids of what a step sends."""

from eos.core.keys import MessageIds


def test_an_id_is_the_same_after_each_replay_and_of_32_hex_digits() -> None:
    first, again = MessageIds("ns", "step"), MessageIds("ns", "step")
    assert first("key", 0) == again("key", 0)
    assert len(first("key", 0)) == 32
    int(first("key", 0), 16)


def test_ids_differ_by_namespace_step_key_and_ordinal() -> None:
    found = {
        MessageIds(namespace, step)(key, ordinal)
        for namespace in ("ns", "ns2")
        for step in ("step", "step2")
        for key in ("key", "key2", "\udcff", "\\xff", "\ud800")
        for ordinal in (0, 1)
    }
    assert len(found) == 40


def test_names_cannot_be_cut_so_that_ids_are_equal() -> None:
    assert MessageIds("a", "b")("c", 0) != MessageIds("a", "bc")("", 0)
    assert MessageIds("ab", "c")("k", 0) != MessageIds("a", "bc")("k", 0)
    assert MessageIds("a", "b")("c", 11) != MessageIds("a", "b")("c\x001", 1)
