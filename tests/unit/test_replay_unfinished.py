"""A replay of what an earlier one has not come to yet."""

import pytest

from eos.core.errors import ConfigError
from eos.core.frontier import Frontier, Replay
from eos.operate.replay_plan import Place, Plan, Wanted
from tests.unit.test_replay_letters import DIGEST, Servers

OTHER = b"o" * 12
# It has come to 2, and goes on to 4 of 5.
UNFINISHED = Frontier(2, replay=Replay(5, 4))
OF_KEYS = Frontier(2, replay=Replay(5, 4, keys=frozenset([DIGEST])))
OF_OTHERS = Frontier(2, replay=Replay(5, 4, keys=frozenset([DIGEST, OTHER])))


def planned(was: Frontier, begin: int, until: int | None, *keys: str) -> Plan:
    servers = Servers()
    servers.frontier = was
    end = None if until is None else Place(until)
    return servers.replays().plan(Wanted("in", Place(begin), end, keys=keys))


@pytest.mark.parametrize(
    ("was", "begin", "until", "keys"),
    [
        pytest.param(UNFINISHED, 3, None, (), id="it would begin too late"),
        pytest.param(UNFINISHED, 0, 3, (), id="it would end too early"),
        pytest.param(UNFINISHED, 0, None, ("k",), id="it would leave out keys"),
        pytest.param(OF_OTHERS, 0, None, ("k",), id="it would leave out a key"),
        pytest.param(OF_KEYS, 3, None, (), id="it would begin too late for a key"),
    ],
)
def test_it_is_not_cut_short(was: Frontier, begin: int, until: int, keys: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"in\[0\]: a replay of 2 to 4.* is not finished"):
        planned(was, begin, until, *keys)


@pytest.mark.parametrize(
    ("was", "begin", "until", "keys"),
    [
        pytest.param(UNFINISHED, 2, 4, (), id="the same"),
        pytest.param(UNFINISHED, 0, None, (), id="more"),
        pytest.param(OF_KEYS, 2, 4, ("k",), id="the same key"),
        pytest.param(OF_KEYS, 2, 4, (), id="all keys"),
        pytest.param(UNFINISHED._replace(offset=4), 3, None, (), id="all of it is handled"),
    ],
)
def test_it_may_be_done_as_part_of_another(
    was: Frontier, begin: int, until: int, keys: tuple[str, ...]
) -> None:
    assert planned(was, begin, until, *keys).spans[0].replay.peak == 5


def test_it_is_not_forgotten_when_the_command_dies_half_way() -> None:
    servers = Servers()
    servers.frontier, servers.noted = UNFINISHED, 1
    replays = servers.replays()
    replays(replays.plan(Wanted("in", Place(0))), "a bug")
    (last,) = servers.committed
    assert last["in", 0].replay == Replay(5, 5)
