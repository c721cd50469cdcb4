"""What a server counts, in Prometheus' text format (version 0.0.4).

requests = Counter("facegan_requests_total", "Requests answered.", ("route", "status"))
requests.add("/v1/generate", "200")
seconds = Histogram("facegan_request_seconds", "...", ("route",), (0.01, 0.1, 1.0))
seconds.observe(0.03, "/v1/generate")
as_text([requests, seconds, ...])
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, ...]


class Metric(Protocol):
    """Something that has lines to show."""

    def lines(self) -> Iterator[str]:
        """Its HELP, its TYPE and its numbers."""


class Counter:
    """A number that only grows, for each value of its labels."""

    def __init__(self, name: str, about: str, labels: Labels) -> None:
        self.name, self.about, self.labels = name, about, labels
        self._values: dict[Labels, float] = {}
        self._lock = threading.Lock()

    def add(self, *values: str, by: float = 1) -> None:
        """Counts one, or `by`, more."""
        with self._lock:
            self._values[values] = self._values.get(values, 0) + by

    def lines(self) -> Iterator[str]:
        """Its HELP, its TYPE and its numbers."""
        yield from _head(self.name, self.about, "counter")
        with self._lock:
            found = sorted(self._values.items())
        for values, value in found:
            yield f"{self.name}{_labelled(self.labels, values)} {value:.15g}"


class Gauge:
    """A number that is looked up when it is asked for, for each value of its label."""

    def __init__(self, name: str, about: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        self.name, self.about, self.label, self.read = name, about, label, read

    def lines(self) -> Iterator[str]:
        """Its HELP, its TYPE and its numbers."""
        yield from _head(self.name, self.about, "gauge")
        for value, number in sorted(self.read().items()):
            yield f"{self.name}{_labelled((self.label,), (value,))} {number:.15g}"


class Histogram:
    """How many observations there were up to each bound, for each value of its labels."""

    def __init__(self, name: str, about: str, labels: Labels, bounds: Sequence[float]) -> None:
        self.name, self.about, self.labels, self.bounds = name, about, labels, tuple(bounds)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        self._lock = threading.Lock()

    def observe(self, value: float, *values: str) -> None:
        """Takes one observation in."""
        with self._lock:
            counts = self._counts.setdefault(values, [0] * (len(self.bounds) + 1))
            counts[bisect.bisect_left(self.bounds, value)] += 1
            self._sums[values] = self._sums.get(values, 0.0) + value

    def lines(self) -> Iterator[str]:
        """Its HELP, its TYPE and its numbers; a bucket counts those of the smaller ones too."""
        yield from _head(self.name, self.about, "histogram")
        with self._lock:
            found = [
                (values, list(counts), self._sums[values]) for values, counts in sorted(self._counts.items())
            ]
        for values, counts, total in found:
            so_far = 0
            for bound, count in zip([*(f"{b:g}" for b in self.bounds), "+Inf"], counts, strict=True):
                so_far += count
                yield f"{self.name}_bucket{_labelled((*self.labels, 'le'), (*values, bound))} {so_far}"
            yield f"{self.name}_sum{_labelled(self.labels, values)} {total:.15g}"
            yield f"{self.name}_count{_labelled(self.labels, values)} {so_far}"


def as_text(metrics: Iterable[Metric]) -> str:
    """All of them, as Prometheus reads them."""
    return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


def _head(name: str, about: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"


def _labelled(names: Labels, values: Labels) -> str:
    pairs = [f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
