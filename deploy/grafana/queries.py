"""Queries that most panels have, in PromQL. `$group` and `$topic` are what the viewer chose."""

GROUP = 'group=~"$group"'
TOPIC = f'{GROUP}, topic=~"$topic"'


def rate(name: str, by: str, labels: str = TOPIC) -> str:
    """Give how often something happens, a second."""
    return f"sum by ({by}) (rate({name}{{{labels}}}[$__rate_interval]))"


def increase(name: str, by: str = "", labels: str = TOPIC) -> str:
    """Give how often something happened in the time that is shown."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (increase({name}{{{labels}}}[$__range]))"


def gauge(name: str, by: str = "group, topic", labels: str = TOPIC, over: str = "sum") -> str:
    """Give a gauge of all processes."""
    return f"{over} by ({by}) ({name}{{{labels}}})"


def mean(name: str, by: str = "group", labels: str = GROUP) -> str:
    """Give the mean of a histogram; nothing where it counted nothing."""
    return f"{rate(f'{name}_sum', by, labels)} / ({rate(f'{name}_count', by, labels)} > 0)"


def quantiles(name: str, labels: str = GROUP) -> list[tuple[str, str]]:
    """Give the median and the 99th percentile of a histogram, with their legends."""
    rates = rate(f"{name}_bucket", "le", labels)
    return [(f"histogram_quantile({share / 100}, {rates})", f"p{share}") for share in (50, 99)]
