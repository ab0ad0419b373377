"""What must be on this machine: Java, Kafka's jars (or Maven to fetch them), the servers."""

import logging
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from eos.devstack.errors import DevStackError

POM = Path(__file__).with_name("pom.xml")
OLDEST_JAVA = 17
FETCH_SECONDS = 900

GET_JAVA = (
    f"Java {OLDEST_JAVA} or later is missing: install it (apt install default-jre-headless, "
    "brew install openjdk) or set JAVA_HOME"
)
GET_MAVEN = (
    "Maven is missing, which fetches Kafka once: install it (apt install maven, brew install "
    "maven) or set EOS_KAFKA_HOME to an unpacked Kafka"
)
GET_REDIS = (
    "redis-server is missing: install it (apt install redis-server, brew install redis) "
    "or set EOS_REDIS_URL to a running one"
)
GET_POSTGRES = (
    "PostgreSQL is missing: install it (apt install postgresql, brew install postgresql) "
    "or set EOS_POSTGRES_URL to a running one"
)
# Debian keeps the programs of each version apart, and out of PATH.
POSTGRES_FOLDERS = Path("/usr/lib/postgresql")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Where the programs are; a program that is not asked for is an empty string."""

    java: str = ""
    kafka_libs: Path = Path()
    redis: str = ""
    postgres: Path = Path()


def find_programs(*, kafka: bool, redis: bool, postgres: bool = False) -> Programs:
    """Find what is needed to start these servers, fetching Kafka's jars if nobody has yet.

    Raises:
        DevStackError: Something is missing; the message has one line for each thing.
    """
    java = _java() if kafka else ""
    home = _kafka_home()
    libs = home / "libs" if home else _cached_libs()
    maven = shutil.which("mvn") or ""
    server = (shutil.which("redis-server") or "") if redis else ""
    database = _postgres() if postgres else None

    missing = []
    if kafka and not java:
        missing.append(GET_JAVA)
    if kafka and home and not _broker_jar(libs):
        missing.append(f"EOS_KAFKA_HOME={home} holds no libs/kafka_*.jar: unpack a Kafka 4 there")
    if kafka and not home and not libs.exists() and not maven:
        missing.append(GET_MAVEN)
    if redis and not server:
        missing.append(GET_REDIS)
    if postgres and not database:
        missing.append(GET_POSTGRES)
    if missing:
        raise DevStackError("\n".join(missing))

    if kafka and not libs.exists():
        _fetch(maven, libs)
    return Programs(java=java, kafka_libs=libs, redis=server, postgres=database or Path())


def kafka_version(libs: Path) -> str:
    """Read the version from the name of the broker's jar: kafka_<Scala version>-<version>.jar."""
    return _broker_jar(libs).removesuffix(".jar").partition("-")[2]


def _broker_jar(libs: Path) -> str:
    names = sorted(jar.name for jar in libs.glob("kafka_*.jar"))
    return next((name for name in names if re.fullmatch(r"kafka_[\d.]+-[\d.]+\.jar", name)), "")


def _java() -> str:
    """Return a Java that is new enough, JAVA_HOME's before PATH's; empty if there is none."""
    home = os.environ.get("JAVA_HOME")
    program = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if not program:
        return ""
    answer = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(\d+)', answer.stderr)
    return program if version and int(version[1]) >= OLDEST_JAVA else ""


def _postgres() -> Path | None:
    """Return the folder with PostgreSQL's programs: that of PATH, else the newest of Debian's."""
    found = shutil.which("postgres")
    versions = sorted(
        POSTGRES_FOLDERS.glob("*/bin"), key=lambda each: float(each.parent.name), reverse=True
    )
    folders = [Path(found).resolve().parent] if found else []
    return next((each for each in [*folders, *versions] if (each / "initdb").exists()), None)


def _kafka_home() -> Path | None:
    home = os.environ.get("EOS_KAFKA_HOME")
    return Path(home).expanduser() if home else None


def _cached_libs() -> Path:
    """Return the folder of the jars that the POM names; it exists only when it is complete."""
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(os.environ.get("EOS_CACHE") or user_cache / "eos").expanduser()
    version = re.search(r"<kafka\.version>(.+)</kafka\.version>", POM.read_text())
    if not version:
        raise DevStackError(f"{POM} names no version of Kafka")
    return cache / f"kafka-{version[1]}"


def _fetch(maven: str, libs: Path) -> None:
    """Fetch the jars into a folder beside `libs`, then rename it.

    A killed fetch leaves no half-filled `libs`. Of two fetches at once the first to rename wins;
    the other finds the name taken by a complete folder and drops its own.
    """
    log.info("fetching Kafka's jars with Maven into %s (once)", libs)
    libs.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=libs.parent) as folder:
        # A copy of the POM: Maven may write beside it, and the package may be read-only.
        pom = shutil.copy(POM, folder)
        fetched = Path(folder) / "libs"
        command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={fetched}"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise DevStackError(f"Maven took longer than {FETCH_SECONDS} s") from error
        if done.returncode != 0:
            raise DevStackError(f"Maven could not fetch Kafka's jars:\n{done.stdout.strip()}")
        try:
            fetched.rename(libs)
        except OSError:
            if not libs.exists():
                raise
