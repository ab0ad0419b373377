from pathlib import Path

from eos.observe.catalogue import CATALOGUE, Instrument

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def row(metric: Instrument) -> str:
    labels = " ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |"


def test_the_reference_lists_every_metric_as_the_code_has_it() -> None:
    documented = [line for line in PAGE.read_text().splitlines() if line.startswith("| `eos_")]
    assert sorted(documented) == sorted(map(row, CATALOGUE.values()))


def test_names_and_units_follow_prometheus() -> None:
    for metric in CATALOGUE.values():
        assert metric.name.startswith("eos_")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.meaning.endswith("."), metric.name
