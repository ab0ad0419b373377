"""Finding Java, Kafka and Redis, and fetching Kafka's jars."""

import re
import threading
from pathlib import Path

import pytest

from eos.devstack import DevStackError
from eos.devstack.programs import find_programs, kafka_version

JAVA = """#!/bin/sh
echo 'openjdk version "{version}" 2025-01-01' >&2
"""
# Takes its time, so that fetches overlap; writes where -DoutputDirectory says.
MAVEN = """#!/bin/sh
for each; do case $each in -DoutputDirectory=*) folder=${each#*=};; esac; done
mkdir -p "$folder" && touch "$folder/one.jar" && sleep 0.3 && touch "$folder/two.jar"
"""
BROKEN_MAVEN = """#!/bin/sh
echo "[ERROR] no route to repo"
exit 1
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of programs in PATH's place (but for sh's own), and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("EOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("EOS_KAFKA_HOME", raising=False)
    return folder


def install(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(script.replace("#!/bin/sh", "#!/bin/sh\nPATH=/bin:/usr/bin"))
    program.chmod(0o755)


def cached(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path / "cache")) for path in tmp_path.rglob("*.jar"))


@pytest.mark.usefixtures("programs")
def test_all_that_is_missing_is_named_at_once_a_line_each() -> None:
    with pytest.raises(DevStackError) as raised:
        find_programs(kafka=True, redis=True)

    lines = str(raised.value).splitlines()
    assert [line.split(" is missing")[0].split()[0] for line in lines] == [
        "Java",
        "Maven",
        "redis-server",
    ]
    assert all("install" in line for line in lines)


@pytest.mark.usefixtures("programs")
def test_nothing_is_missing_when_nothing_is_to_be_started() -> None:
    find_programs(kafka=False, redis=False)


def test_an_old_java_is_no_java(programs: Path) -> None:
    install(programs, "java", JAVA.format(version="11.0.20"))

    with pytest.raises(DevStackError, match=r"^Java 17 or later is missing"):
        find_programs(kafka=True, redis=False)


def test_an_unpacked_kafka_needs_no_maven(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(programs, "java", JAVA.format(version="21.0.1"))
    libs = tmp_path / "kafka" / "libs"
    libs.mkdir(parents=True)
    (libs / "kafka_2.13-4.2.0.jar").touch()
    (libs / "kafka_2.13-4.2.0-sources.jar").touch()
    monkeypatch.setenv("EOS_KAFKA_HOME", str(tmp_path / "kafka"))

    found = find_programs(kafka=True, redis=False)

    assert found.kafka_libs == libs
    assert kafka_version(libs) == "4.2.0"


def test_a_kafka_home_without_kafka_is_named(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(programs, "java", JAVA.format(version="17.0.1"))
    monkeypatch.setenv("EOS_KAFKA_HOME", str(tmp_path))

    with pytest.raises(DevStackError, match=f"EOS_KAFKA_HOME={re.escape(str(tmp_path))}"):
        find_programs(kafka=True, redis=False)


def test_the_jars_are_fetched_once(programs: Path, tmp_path: Path) -> None:
    install(programs, "java", JAVA.format(version="17.0.1"))
    install(programs, "mvn", MAVEN)
    libs = find_programs(kafka=True, redis=False).kafka_libs
    (programs / "mvn").unlink()

    assert find_programs(kafka=True, redis=False).kafka_libs == libs
    assert cached(tmp_path) == [f"{libs.name}/one.jar", f"{libs.name}/two.jar"]


def test_two_fetches_at_once_leave_one_complete_folder(programs: Path, tmp_path: Path) -> None:
    install(programs, "java", JAVA.format(version="17.0.1"))
    install(programs, "mvn", MAVEN)
    found: list[Path] = []
    fetches = [
        threading.Thread(
            target=lambda: found.append(find_programs(kafka=True, redis=False).kafka_libs)
        )
        for _ in range(3)
    ]

    for each in fetches:
        each.start()
    for each in fetches:
        each.join()

    assert len(found) == 3
    assert cached(tmp_path) == [f"{found[0].name}/one.jar", f"{found[0].name}/two.jar"]


def test_a_fetch_that_fails_leaves_nothing_and_says_why(programs: Path, tmp_path: Path) -> None:
    install(programs, "java", JAVA.format(version="17.0.1"))
    install(programs, "mvn", BROKEN_MAVEN)

    with pytest.raises(DevStackError, match="no route to repo"):
        find_programs(kafka=True, redis=False)

    assert not list((tmp_path / "cache").iterdir())
