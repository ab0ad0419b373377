"""The rules of `eos check` on brokers, topics, groups and rights: facts in, findings out."""

from dataclasses import replace

import pytest

from eos.core.ports.preflight import (
    Cluster,
    Extent,
    Group,
    Offsets,
    Topic,
)
from eos.core.settings import Settings
from eos.operate.checks import Finding, Level, Role, Subject
from eos.operate.checks import brokers as broker_rules
from eos.operate.checks import groups as group_rules
from eos.operate.checks import rights as right_rules
from eos.operate.checks import topics as topic_rules
from tests.unit.check_facts import DAY, NOW, bad, levels, subject, the

# --- brokers -----------------------------------------------------------------------------------


BROKER = {
    "transaction.max.timeout.ms": "900000",
    "transactional.id.expiration.ms": "604800000",
    "offsets.retention.minutes": "10080",
    "group.min.session.timeout.ms": "6000",
    "group.max.session.timeout.ms": "1800000",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "min.insync.replicas": "2",
}


def judged(subject: Subject, **changed: object) -> list[Finding]:
    settings = {**BROKER, **{k.replace("_", "."): str(v) for k, v in changed.items()}}
    return list(broker_rules.broker_settings(settings, subject, brokers=3))


def test_brokers_with_kafka_s_defaults_are_fine() -> None:
    assert not bad(judged(subject()))


@pytest.mark.parametrize(
    ("changed", "level", "told"),
    [
        ({"transaction_max_timeout_ms": 9999}, "fault", "are refused"),
        ({"transaction_max_timeout_ms": 10_000}, "ok", ""),
        ({"transactional_id_expiration_ms": 60_000}, "warning", "must make its producer anew"),
        ({"offsets_retention_minutes": 1439}, "warning", "window of 24 h"),
        ({"offsets_retention_minutes": 1440}, "ok", ""),
        ({"group_max_session_timeout_ms": 44_999}, "fault", "session.timeout.ms of workers"),
        ({"group_max_session_timeout_ms": 45_000}, "ok", ""),
        ({"group_min_session_timeout_ms": 45_001}, "fault", "session.timeout.ms of workers"),
        ({"group_min_session_timeout_ms": 45_000}, "ok", ""),
        ({"transactional_id_expiration_ms": 3_600_000}, "ok", ""),
        ({"offsets_topic_replication_factor": 1}, "warning", "no group can be joined"),
        (
            {"transaction_state_log_replication_factor": 1, "transaction_state_log_min_isr": 1},
            "warning",
            "no transaction can begin",
        ),
        ({"transaction_state_log_min_isr": 4}, "fault", "no transaction can begin"),
    ],
)
def test_each_setting_of_the_brokers_has_its_bound(
    changed: dict[str, int], level: str, told: str
) -> None:
    found = bad(judged(subject(), **changed))

    assert (levels(found) or ["ok"]) == [level]
    assert not found or told in found[0].found


def test_relays_ask_for_a_session_of_their_own() -> None:
    it = replace(subject(relays=True), sources=(), grouped=False)

    assert "of relays is 6000" in the(judged(it, group_min_session_timeout_ms=6001)).found


def test_a_group_of_kip_848_needs_brokers_that_know_it() -> None:
    it = subject(kafka={"group.protocol": "consumer"})

    known = {"group_coordinator_rebalance_protocols": "classic"}
    assert the(judged(it, **known)).level is Level.FAULT
    assert not bad(judged(it, group_max_session_timeout_ms=1))


def test_internal_topics_that_cannot_be_made_or_lack_copies_are_faults() -> None:
    lone = broker_rules.internal_topics({}, BROKER, brokers=1)
    assert levels(lone) == ["fault", "fault"]
    assert "cannot be made" in lone[0].found

    assert not bad(broker_rules.internal_topics({}, BROKER, brokers=3))
    there = {"__consumer_offsets": (3, 3), "__transaction_state": (2, 1)}
    short = the(broker_rules.internal_topics(there, BROKER, brokers=3))
    assert "1 partitions have fewer than 2" in short.found


def test_the_version_is_told_as_far_as_brokers_tell_it() -> None:
    cluster = Cluster(id="c", brokers={1: "a", 2: "b", 3: "c"})

    (old,) = broker_rules.cluster(cluster, {"inter.broker.protocol.version": "3.9-IV0"})
    (new,) = broker_rules.cluster(cluster, {})
    silent = list(broker_rules.cluster(cluster, None))

    assert old.found.endswith("Kafka 3.9-IV0")
    assert new.found.endswith("Kafka 4.0 or newer")
    assert levels(silent) == ["ok", "warning"]


# --- topics ------------------------------------------------------------------------------------


FINE = Topic(id="abc", copies=(3, 3), in_sync=(3, 3))
SETTINGS = {
    "cleanup.policy": "delete",
    "retention.ms": str(7 * DAY * 1000),
    "retention.bytes": "-1",
    "min.insync.replicas": "2",
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
}


FULL = Extent(start=0, stable=9, end=9)


def of_topic(
    role: Role = Role.SOURCE,
    topic: Topic = FINE,
    extents: dict[int, Extent] | None = None,
    *,
    recovered: bool = True,
    **changed: object,
) -> list[Finding]:
    settings = {**SETTINGS, **{k.replace("_", "."): str(v) for k, v in changed.items()}}
    known = topic_rules.Known(
        name="t",
        role=role,
        topic=topic,
        settings=settings,
        extents={0: FULL, 1: FULL, **(extents or {})},
        recovered=recovered,
    )
    return topic_rules.of_topic(known, window=DAY, brokers=3, max_bytes=1_000_000, now=NOW)


@pytest.mark.parametrize("role", list(Role))
def test_a_topic_as_it_should_be_is_one_line_that_is_fine(role: Role) -> None:
    (row,) = of_topic(role)

    assert row.level is Level.OK
    assert "2 partitions, 3 copies, kept 7 days" in row.found


def test_the_line_of_a_topic_says_what_is_of_use_and_only_if_nothing_is_broken() -> None:
    newest = {0: replace(FULL, newest=int(NOW * 1000) - 90_000, newest_at=8)}

    (read,) = of_topic(extents=newest)
    (target,) = of_topic(Role.TARGET, replace(FINE, copies=(2,), in_sync=(2,)), retention_ms=-1)
    warned = of_topic(retention_bytes=0)
    broken = of_topic(retention_ms=0)

    assert read.found.endswith("kept 7 days, CreateTime, newest 90 s old")
    assert target.found == "published to, 1 partition, 2 copies, kept for ever"
    assert levels(warned) == ["ok", "warning"]
    assert levels(broken) == ["fault"]


@pytest.mark.parametrize(
    ("role", "recovered", "level"),
    [
        (Role.SOURCE, True, ["fault"]),
        (Role.SOURCE, False, ["warning"]),
        (Role.LETTERS, True, ["warning"]),
        (Role.AUDIT, True, ["fault"]),
        (Role.TARGET, True, []),
        (Role.POSITIONS, True, []),
    ],
)
def test_who_keeps_less_than_the_window_depends_on_what_it_is_for(
    role: Role, recovered: bool, level: list[str]
) -> None:
    assert levels(bad(of_topic(role, recovered=recovered, retention_ms=DAY * 1000 - 1))) == level
    assert not bad(of_topic(role, recovered=recovered, retention_ms=DAY * 1000))
    assert not bad(of_topic(role, recovered=recovered, retention_ms=-1))


def test_a_topic_that_is_only_compacted_is_not_measured_by_its_retention() -> None:
    found = bad(of_topic(cleanup_policy="compact", retention_ms=1))

    assert levels(found) == ["warning"]
    assert levels(bad(of_topic(cleanup_policy="compact,delete", retention_ms=1))) == [
        "warning",
        "fault",
    ]


@pytest.mark.parametrize(
    ("topic", "changed", "level", "told"),
    [
        (replace(FINE, leaderless=(1,)), {}, "fault", "nobody leads partition 1"),
        (replace(FINE, id="A" * 22), {}, "fault", "no topic id"),
        (replace(FINE, copies=(1, 3)), {"min_insync_replicas": 1}, "warning", "has one copy"),
        (FINE, {"min_insync_replicas": 4}, "fault", "copies are 3"),
        (FINE, {"min_insync_replicas": 3}, "ok", ""),
        (replace(FINE, in_sync=(0, 3), leaderless=(0,)), {}, "fault", "nobody leads partition 0"),
        (replace(FINE, in_sync=(2, 3)), {}, "ok", ""),
        (replace(FINE, copies=(5, 5)), {"min_insync_replicas": 4}, "fault", "brokers are 3"),
        (replace(FINE, in_sync=(3, 1)), {}, "fault", "partition 1: fewer copies in sync"),
        (FINE, {"min_insync_replicas": 1}, "warning", "with one of 3 copies"),
        (FINE, {"unclean_leader_election_enable": "true"}, "warning", "unclean"),
        (FINE, {"retention_bytes": 1_000_000}, "warning", "retention.bytes"),
        (FINE, {"max_message_bytes": 10}, "ok", ""),
    ],
)
def test_each_property_of_a_source_has_its_bound(
    topic: Topic, changed: dict[str, object], level: str, told: str
) -> None:
    found = bad(of_topic(Role.SOURCE, topic, **changed))  # type: ignore[arg-type]

    assert (levels(found) or ["ok"]) == [level]
    assert not found or told in found[0].found


def test_a_topic_that_takes_smaller_messages_than_we_send_is_a_warning_unless_nothing_is_sent() -> (
    None
):
    assert "10 bytes" in the(of_topic(Role.TARGET, max_message_bytes=10)).found
    assert "10 bytes" in the(of_topic(Role.LETTERS, max_message_bytes=10)).found
    assert not bad(of_topic(Role.POSITIONS, max_message_bytes=10))
    assert not bad(of_topic(Role.TARGET, max_message_bytes=1_000_000))


@pytest.mark.parametrize(
    ("newest", "told"),
    [
        (NOW * 1000 + 61_000, "is 61 s ahead of our clock"),
        (NOW * 1000 + 59_000, ""),
        (NOW, "seconds for milliseconds?"),
        (NOW * 1000 - 400 * DAY * 1000, ""),
        (-1, ""),
    ],
)
def test_time_stamps_are_compared_with_our_clock(newest: float, told: str) -> None:
    extents = {0: Extent(start=0, stable=9, end=9, newest=int(newest), newest_at=4)}

    found = bad(of_topic(extents=extents))

    assert levels(found) == (["warning"] if told else [])
    assert not found or told in found[0].found


def test_a_partition_that_does_not_say_how_far_it_reaches_is_a_fault_unless_nobody_leads_it() -> (
    None
):
    known = topic_rules.Known(
        name="t", role=Role.SOURCE, topic=FINE, settings=None, extents={0: FULL}
    )

    def judge(known: topic_rules.Known) -> list[Finding]:
        bounds = {"window": DAY, "brokers": 3, "max_bytes": 1_000_000}
        return bad(topic_rules.of_topic(known, **bounds, now=NOW))

    assert "partition 1: its leader" in the(judge(known)).found
    assert (
        "nobody leads partition 1"
        in the(judge(replace(known, topic=replace(FINE, leaderless=(1,))))).found
    )
    assert judge(replace(known, role=Role.TARGET)) == []


def test_only_a_transaction_that_is_open_for_longer_than_ours_is_a_warning() -> None:
    def look(age: float | None, stable: int = 5) -> list[Finding]:
        since = None if age is None else int((NOW - age) * 1000)
        extent = Extent(start=0, stable=stable, end=9, waits_since=since)
        return bad(topic_rules.open_transactions({("t", 3): extent}, NOW, 10.0))

    assert "readers of [3] wait at 5, 4 offsets before its end" in the(look(11)).found
    assert look(9) == []
    assert look(None) == []
    assert look(11, stable=9) == []


def test_topics_that_are_missing_are_faults_but_for_those_that_workers_make() -> None:
    assert topic_rules.missing("t", Role.SOURCE, None).level is Level.FAULT
    assert topic_rules.missing("t", Role.TARGET, None).level is Level.FAULT
    assert topic_rules.missing("t", Role.LETTERS, None).level is Level.WARNING
    assert topic_rules.missing("t", Role.POSITIONS, "denied").level is Level.FAULT


# --- groups and rights -------------------------------------------------------------------------


def of_group(found: Group, **kafka: str) -> list[Finding]:
    named = {name.replace("_", "."): value for name, value in kafka.items()}
    return bad(group_rules.group("g", found, Settings(group="g", kafka=named)))


def test_members_must_speak_as_ours_do() -> None:
    range_ = Group(state="STABLE", assignor="range", members=("a",))

    assert the(of_group(range_)).level is Level.FAULT
    assert of_group(range_, partition_assignment_strategy="roundrobin,range") == []
    assert of_group(replace(range_, assignor="cooperative-sticky")) == []
    assert of_group(replace(range_, assignor="", state="PREPARING_REBALANCING")) == []
    assert of_group(replace(range_, members=(), state="EMPTY")) == []
    assert the(of_group(range_, group_protocol="consumer")).level is Level.WARNING
    assert of_group(replace(range_, protocol="consumer"), group_protocol="consumer") == []


def test_offsets_lie_within_their_log() -> None:
    extents = {("t", 0): Extent(start=5, stable=9, end=9)}

    def at(offset: int) -> list[Finding]:
        told = Offsets(committed={("t", 0): offset})
        return list(group_rules.offsets("g", told, extents, [], ["t"]))

    assert [levels(at(offset)) for offset in (4, 5, 9, 10)] == [
        ["fault"],
        ["ok"],
        ["ok"],
        ["fault"],
    ]
    assert "2 offsets behind" in at(7)[0].found


def test_offsets_of_a_topic_that_does_not_exist_are_a_warning() -> None:
    told = Offsets(committed={("gone", 0): 5})

    assert "gone" in the(group_rules.offsets("g", told, {}, ["gone"], ["t"])).found


def test_rights_are_judged_only_where_brokers_tell_them() -> None:
    some, none = frozenset({"DESCRIBE"}), None

    def judge(may: frozenset[str] | None, role: Role = Role.SOURCE) -> list[str]:
        uses = [right_rules.Use("t", role, may)]
        return levels(bad(right_rules.rights(uses, {"g": frozenset({"READ"})})))

    assert judge(some) == ["fault"]
    assert judge(none) == []
    assert judge(frozenset({"READ"})) == []
    assert judge(frozenset({"ALL"})) == []
    assert judge(frozenset({"READ"}), Role.TARGET) == ["fault"]
    assert judge(frozenset({"READ"}), Role.AUDIT) == ["fault"]
    assert judge(some, Role.AUDIT) == ["fault", "fault"]
    assert levels(right_rules.rights([right_rules.Use("t", Role.SOURCE, none)], {})) == ["ok"]


def test_what_may_not_be_seen_is_told_with_what_it_is_for() -> None:
    source = right_rules.unseen("t", Role.SOURCE, "no right")
    audit = right_rules.unseen("t", Role.AUDIT, "no right")

    assert (source.found, audit.found) == (
        "no right; it is to be read",
        "no right; it is for the audit",
    )
    assert "allow our user READ on it" in source.advice
    assert "allow our user WRITE and READ on it" in audit.advice
    assert right_rules.closed("g").level is Level.FAULT


def test_a_trial_with_a_worker_s_own_id_is_proof_and_one_with_another_id_is_not() -> None:
    def judge(name: str, why: str | None, *, is_theirs: bool) -> Finding:
        return right_rules.transactional_id(name, "ns.one.0, …", why, is_theirs=is_theirs)

    assert judge("ns.one.0", None, is_theirs=True).level is Level.OK
    assert judge("ns.one.0", "denied", is_theirs=True).level is Level.FAULT
    other = judge("ns.one.check", "denied", is_theirs=False)
    assert other.level is Level.WARNING
    assert "ids that begin with ns.one." in other.advice
