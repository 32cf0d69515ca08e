"""What `metrics.source_support` says of the planted cases.

In: for each kind, in how many cases the source explains less of the harmed text. Out: the figures themselves
(`synth_assets.core.source_support`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from synth_assets.core.judge_trial import Detection, detection
from synth_assets.core.planted_cases import PlantedCase
from synth_assets.core.source_support import SourcePair, SourceSupport

LOOKED_AT = ("explained_share", "least_explained_share")

Supports = Callable[[Iterable[SourcePair]], Iterator[SourceSupport | None]]


def try_support(cases: Sequence[PlantedCase], supports: Supports) -> list[Detection]:
    """For each kind and figure, in how many cases it fell. What is left out does not make it fall: it is no fault."""
    unharmed = {case.passage.text: SourcePair(case.passage.text, case.passage.text) for case in cases}
    before = dict(zip(unharmed, supports(unharmed.values()), strict=True))
    after = supports(SourcePair(case.passage.text, case.text) for case in cases)
    losses: dict[tuple[str, str], list[float]] = {(case.kind, name): [] for case in cases for name in LOOKED_AT}
    for case, harmed in zip(cases, after, strict=True):
        old, new = _figures(before[case.passage.text]), _figures(harmed)
        for name in LOOKED_AT:
            if name in old and name in new:
                losses[case.kind, name].append(old[name] - new[name])
    return [detection(kind, name, values) for (kind, name), values in losses.items()]


def _figures(support: SourceSupport | None) -> dict[str, float]:
    if support is None:
        return {}
    least = support.least_supported
    found = {"explained_share": support.explained_share}
    return found | ({"least_explained_share": least.explained_share} if least else {})
