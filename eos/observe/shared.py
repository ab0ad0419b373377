"""The metrics of all workers in one folder and behind one port.

Each worker writes its numbers into files of its own (prometheus_client's multi-process mode);
the process that started the workers adds them up. What a worker counted outlives it.
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Self

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Metric,
    generate_latest,
    start_http_server,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from eos.core.errors import ConfigError
from eos.observe.catalogue import ABANDONED, CATALOGUE, COMMITTING, IN_FLIGHT, Instrument

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_ACCUMULATING = ("counter", "histogram", "summary")
_LIVE_GAUGES = "gauge_live*_{}.db"

# prometheus_client gives these no types.
_File: Any = MmapedDict
_merge: Any = MultiProcessCollector.merge

# Between the two steps of moving a dead worker's counts they are there twice.
_moving = threading.Lock()


class Held(NamedTuple):
    """What a worker holds, by its own account.

    Attributes:
        records: Claimed, and neither settled nor given back yet.
        committing: Whether it is inside a transaction. If it dies there, only the committed
            offsets tell whether its records are settled.
    """

    records: int
    committing: bool


def environment(folder: Path) -> dict[str, str]:
    """Give the variables under which a worker must start so that it counts into the folder."""
    return {_VARIABLE: str(folder)}


def held(folder: Path, pid: int) -> Held:
    """Read what a worker holds. It does not have to answer: it may be stopped, or just dead.

    Args:
        folder: Where the workers count.
        pid: The worker's process id; one that is unknown or buried holds nothing.
    """
    sums = {IN_FLIGHT: 0.0, COMMITTING: 0.0}
    with _moving:
        entries = [*chain(*map(_entries, folder.glob(_LIVE_GAUGES.format(pid))))]
    for key, value in entries:
        name = json.loads(key)[0]
        if name in sums:
            sums[name] += value
    return Held(int(sums[IN_FLIGHT]), bool(sums[COMMITTING]))


def bury(folder: Path, pid: int) -> None:
    """Keep what a dead worker counted, in one file for all the dead, and forget its gauges.

    So a worker that is restarted for ever neither fills the folder nor slows `/metrics` down.
    What it held is counted as abandoned, or the records would not add up.
    """
    with _moving:
        for kind in _ACCUMULATING:
            for path in folder.glob(f"{kind}_{pid}.db"):
                _add(folder, kind, _entries(path))
                path.unlink()
        for path in folder.glob(_LIVE_GAUGES.format(pid)):
            _add(folder, "counter", _abandoned(path))
            path.unlink()


def total(folder: Path, name: str, **labels: str) -> float:
    """Sum a metric over all workers, and over all labels that are not given.

    Args:
        folder: Where the workers count.
        name: A sample's name, such as `eos_records_total`.
        labels: Which series to sum.
    """
    return sum(
        sample.value
        for metric in _Collector(folder).collect()
        for sample in metric.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


class Server:
    """Serves `/metrics` until it is closed.

    Attributes:
        port: The TCP port that it listens on.
    """

    def __init__(self, port: int, registry: CollectorRegistry) -> None:
        self._server, self._thread = start_http_server(port, registry=registry)
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(port: int, folder: Path | None = None) -> Server:
    """Serve `/metrics` on all interfaces, from a thread of its own.

    Args:
        port: The TCP port; 0 takes a free one.
        folder: Where the workers count; None serves what this process counts.

    Raises:
        ConfigError: If the port is taken.
    """
    registry = REGISTRY
    if folder is not None:
        registry = CollectorRegistry()
        registry.register(_Collector(folder))
    try:
        return Server(port, registry)
    except OSError as error:
        raise ConfigError([f"metrics port {port}: {error.strerror}; give another"]) from error


def exposition() -> tuple[bytes, str]:
    """Give what `/metrics` says: of all workers of the pool, where this process is one of them.

    Returns:
        The text, and its content type.
    """
    folder, registry = os.environ.get(_VARIABLE), REGISTRY
    if folder:
        registry = CollectorRegistry()
        registry.register(_Collector(Path(folder)))
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


class _Collector(Collector):
    """Adds the workers' files up.

    prometheus_client's own trips over a file that a worker has just opened, or died opening.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> list[Metric]:
        with _moving:
            return list(_merge([str(path) for path in _filled(self._folder, "*.db")]))


def _filled(folder: Path, pattern: str) -> list[Path]:
    return [path for path in folder.glob(pattern) if path.stat().st_size]


def _entries(path: Path) -> Iterator[tuple[str, float]]:
    if path.stat().st_size:
        for key, value, *_ in _File.read_all_values_from_file(str(path)):
            yield key, value


def _abandoned(path: Path) -> Iterator[tuple[str, float]]:
    for key, value in _entries(path):
        name, _, labels, _ = json.loads(key)
        if name == IN_FLIGHT:
            yield _counter_key(CATALOGUE[ABANDONED], labels), value


def _counter_key(counter: Instrument, labels: Mapping[str, str]) -> str:
    # A counter goes by its name without the suffix; only its samples carry it.
    family = counter.name.removesuffix("_total")
    values = [labels[label] for label in counter.labels]
    return mmap_key(family, counter.name, [*counter.labels], values, counter.meaning)


def _add(folder: Path, kind: str, entries: Iterator[tuple[str, float]]) -> None:
    with closing(_File(str(folder / f"{kind}_dead.db"))) as dead:
        for key, value in entries:
            before, _ = dead.read_value(key)
            dead.write_value(key, before + value, 0.0)
