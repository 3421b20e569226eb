"""Gauges of one program for Prometheus, under its prefix."""

from collections.abc import Mapping

from prometheus_client.core import GaugeMetricFamily


class Gauges:
    """Makes the gauges whose names begin with `prefix` and an underscore."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def single(self, name: str, text: str, number: float) -> GaugeMetricFamily:
        """A gauge without labels."""
        return GaugeMetricFamily(f"{self._prefix}_{name}", text, number)

    def by(self, name: str, text: str, *labels: str, values: Mapping[str, float] | None = None) -> GaugeMetricFamily:
        """A gauge with these labels; `values` are those of the first label."""
        gauge = GaugeMetricFamily(f"{self._prefix}_{name}", text, labels=labels)
        for value, number in (values or {}).items():
            gauge.add_metric([value], number)
        return gauge
