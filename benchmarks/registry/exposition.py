"""What the controller tells of itself at `/metrics`, and what came of it between two moments."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

_PREFIX = "telltale_registry_"
_WRITES = ("create", "apply", "replace", "replaceStatus", "delete")

Sample = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Exposition:
    """Samples by their names, without our prefix, and their labels."""

    samples: Mapping[Sample, float]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of all samples of a name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (of, has), value in self.samples.items() if of == name and wanted <= has)

    def by(self, name: str, *labels: str) -> Counter[str]:
        """Return the sums of a name's samples by what they have for these labels, with spaces between."""
        found: Counter[str] = Counter()
        for (of, has), value in self.samples.items():
            if of == name:
                found[" ".join(dict(has).get(label, "") for label in labels)] += round(value)
        return +found

    def quantile(self, name: str, share: float, **labels: str) -> float:
        """Return a histogram's quantile, taken as evenly spread within a bucket; NaN where nothing was counted."""
        wanted, below = set(labels.items()), Counter[float]()
        for (of, has), value in self.samples.items():
            if of == f"{name}_bucket" and wanted <= has:
                below[float(dict(has)["le"])] += round(value)
        rank, former_bound, former = share * below[math.inf], 0.0, 0
        for bound in sorted(below):
            if below[bound] >= rank > 0:
                if math.isinf(bound):
                    return former_bound
                return former_bound + (bound - former_bound) * (rank - former) / (below[bound] - former)
            former_bound, former = bound, below[bound]
        return math.nan


def parsed(text: str) -> Exposition:
    """Return what an exposition says."""
    samples: dict[Sample, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name.removeprefix(_PREFIX), frozenset(sample.labels.items())] = sample.value
    return Exposition(samples)


def between(earlier: Exposition, later: Exposition) -> Exposition:
    """Return what was counted in between."""
    return Exposition({key: value - earlier.samples.get(key, 0.0) for key, value in later.samples.items()})


def writes(counted: Exposition) -> Counter[str]:
    """Return the writes among the requests that were counted, by verb and resource."""
    calls = counted.by("api_calls_total", "verb", "resource")
    return Counter({call: number for call, number in calls.items() if call.split()[0] in _WRITES})
