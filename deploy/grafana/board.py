"""What a dashboard is, and its JSON for Grafana."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableRefresh,
    VariableSort,
)

_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH, _HEIGHT = 24, 8


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: What it shows.
        unit: Grafana's name of the unit.
        says: What to make of it.
        queries: PromQL, and the legend of its series.
        number: Whether it is one number for the whole time, and no line.
    """

    title: str
    unit: str
    says: str
    queries: Sequence[tuple[str, str]]
    number: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard.

    Attributes:
        name: Of its file, and part of its address.
        title: Its title.
        rows: Panels that stand side by side, under a heading.
        topics: Whether it can be narrowed to topics.
    """

    name: str
    title: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    topics: bool = True

    def json(self) -> str:
        """Give what Grafana reads."""
        made = (
            dashboard.Dashboard(self.title)
            .uid(f"eos-{self.name}")
            .tags(["eos"])
            .refresh("10s")
            .time("now-1h", "now")
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .with_variable(
                dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
            )
            .with_variable(_variable("group", "label_values(eos_aborts_total, group)"))
        )
        if self.topics:
            told = 'label_values(eos_records_total{group=~"$group"}, topic)'
            made = made.with_variable(_variable("topic", told))
        ids = count(1)
        for heading, panels in self.rows:
            made = made.with_row(dashboard.Row(heading).id(next(ids)))
            for panel in panels:
                made = made.with_panel(_panel(panel, _WIDTH // len(panels)).id(next(ids)))
        read: str = JSONEncoder(sort_keys=True, indent=2).encode(made.build())
        return read + "\n"


def _variable(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .datasource(_SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
    )


def _panel(panel: Panel, width: int) -> timeseries.Panel | stat.Panel:
    made = stat.Panel() if panel.number else timeseries.Panel().axis_soft_min(0).fill_opacity(10)
    made = (
        made.title(panel.title)
        .description(panel.says)
        .unit(panel.unit)
        .datasource(_SOURCE)
        .span(width)
        .height(_HEIGHT)
    )
    for letter, (query, legend) in zip("ABC", panel.queries, strict=False):
        target = prometheus.Dataquery().expr(query).ref_id(letter).datasource(_SOURCE)
        made = made.with_target(target.legend_format(legend) if legend else target)
    return made
