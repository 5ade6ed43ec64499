"""The instruments: observable ones over the statistics, and histograms of how long operations take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation

from ..measures import ATTRIBUTES, MEASURES, Measure, Series, Subjects
from .names import ERROR_TYPE, NAMESPACE, OPERATION, OUTCOME, TIER

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Seconds: from a store on this machine to a model that takes its time."""
HISTOGRAMS = {
    "tiercache.operation.duration": ((NAMESPACE, OPERATION, OUTCOME), "operations of a cache that left memory"),
    "tiercache.tier.operation.duration": ((TIER, OPERATION, ERROR_TYPE), "operations on a tier, failed ones included"),
}
"""Each histogram: its attributes, and what it times."""


class Instruments:
    """The instruments of one meter provider; made once, whatever is measured with them.

    A collection asks the statistics once: all callbacks of it share what the first one found.
    """

    def __init__(self, meter: Meter) -> None:
        self.subjects = Subjects(max_namespaces=1)  # until somebody says how many: see `allow`
        self._series: dict[str, Series] = {}
        self._unread: set[str] = set()
        self.operations = _histogram(meter, "tiercache.operation.duration")
        self.tiers = _histogram(meter, "tiercache.tier.operation.duration")
        for measure in MEASURES:
            make = (
                meter.create_observable_counter
                if measure.kind == "counter"
                else meter.create_observable_up_down_counter
            )
            make(measure.name, [self._callback(measure)], measure.unit, measure.text)

    def _callback(self, measure: Measure) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return partial(self._observe, measure)

    def _observe(self, measure: Measure, options: CallbackOptions) -> Iterable[Observation]:
        if measure.name not in self._unread:  # read before: this is another collection
            self._series = self.subjects.series_with(self.subjects.tiers())
            self._unread = {each.name for each in MEASURES}
        self._unread.discard(measure.name)
        names = [ATTRIBUTES[label] for label in measure.labels]
        for labels, value in self._series[measure.name].items():
            yield Observation(value, dict(zip(names, labels, strict=True)))


_of_providers: WeakKeyDictionary[MeterProvider, Instruments] = WeakKeyDictionary()


def instruments_of(provider: MeterProvider, version: str) -> Instruments:
    """Return the instruments of a meter provider; two sets of one name would contradict each other."""
    found = _of_providers.get(provider)
    if found is None:
        found = _of_providers.setdefault(provider, Instruments(provider.get_meter("tiercache", version)))
    return found


def _histogram(meter: Meter, name: str) -> Histogram:
    return meter.create_histogram(name, "s", HISTOGRAMS[name][1], explicit_bucket_boundaries_advisory=BOUNDS)
