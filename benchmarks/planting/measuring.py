"""What the measures of `metrics.text_quality` say of the planted cases.

In: which measure should move which way for each kind. Out: the measures (`synth_assets.core.measures`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from synth_assets.core.judge_trial import Detection, detection
from synth_assets.core.measures.text_quality import measure
from synth_assets.core.planted_cases import PlantedCase

RISES, FALLS = 1, -1

EXPECTED: Mapping[str, Mapping[str, int]] = {
    "swapped_number": {"invented_number_count": RISES, "kept_number_share": FALLS},
    "dropped_paragraph": {"length_ratio": FALLS, "kept_number_share": FALLS, "kept_name_share": FALLS},
    "invented_fact": {"invented_number_count": RISES, "invented_name_count": RISES, "novel_4gram_share": RISES},
    "shuffled_sentences": {"longest_copied_run_words": FALLS, "novel_4gram_share": RISES, "copied_share": FALLS},
    "filler": {
        "length_ratio": RISES,
        "novel_4gram_share": RISES,
        "compression_ratio": RISES,
        "duplicate_5gram_share": RISES,
    },
    "swapped_name": {"kept_name_share": FALLS, "invented_name_count": RISES},
}
"""By kind: measures that could notice it, and which way. No measure understands order or sense: that shuffling moves
the copied runs is so only because the unharmed text is a copy of its source."""


def try_measures(cases: Iterable[PlantedCase]) -> list[Detection]:
    """For each kind and measure, in how many cases the measure moved as it should."""
    losses: dict[tuple[str, str], list[float]] = {(kind, name): [] for kind, ways in EXPECTED.items() for name in ways}
    for case in cases:
        before, after = measure(case.passage.text, case.passage.text), measure(case.passage.text, case.text)
        for name, way in EXPECTED[case.kind].items():
            old, new = getattr(before, name), getattr(after, name)
            # A passage without a number keeps none: the measure has nothing to say about it.
            if old is not None and new is not None:
                losses[case.kind, name].append(way * (new - old))
    return [detection(kind, name, values) for (kind, name), values in losses.items()]
