import pytest

from eos.core.supervisor import TABLE, Seen, State, Supervisor

BAD_SIGNS = sorted(set(Seen) - {Seen.CREATED, Seen.FENCED}, key=str)


def at(state: State) -> Supervisor:
    supervisor = Supervisor()
    supervisor.state = state
    return supervisor


def test_every_state_has_its_row() -> None:
    assert set(TABLE) == set(State)


def test_there_is_no_producer_at_first() -> None:
    assert Supervisor().state is State.ABSENT


@pytest.mark.parametrize("state", [State.ABSENT, State.TAINTED])
def test_a_new_producer_is_ready(state: State) -> None:
    supervisor = at(state)
    supervisor.see(Seen.CREATED)
    assert supervisor.state is State.READY


@pytest.mark.parametrize("sign", BAD_SIGNS)
def test_a_producer_whose_requests_may_still_be_under_way_is_tainted(sign: Seen) -> None:
    supervisor = at(State.READY)
    supervisor.see(sign)
    assert supervisor.state is State.TAINTED
    assert supervisor.reason == sign.value


@pytest.mark.parametrize("sign", BAD_SIGNS)
def test_a_tainted_producer_stays_so_whatever_else_is_seen_and_remembers_the_first_reason(
    sign: Seen,
) -> None:
    supervisor = at(State.READY)
    supervisor.see(Seen.SLOW)
    supervisor.see(sign)
    assert supervisor.state is State.TAINTED
    assert supervisor.reason == Seen.SLOW.value


@pytest.mark.parametrize("state", [State.ABSENT, State.READY, State.TAINTED])
def test_a_fenced_producer_is_dead(state: State) -> None:
    supervisor = at(state)
    supervisor.see(Seen.FENCED)
    assert supervisor.state is State.DEAD


@pytest.mark.parametrize("seen", list(Seen))
def test_nothing_brings_a_dead_producer_back(seen: Seen) -> None:
    supervisor = at(State.DEAD)
    supervisor.see(seen)
    assert supervisor.state is State.DEAD
