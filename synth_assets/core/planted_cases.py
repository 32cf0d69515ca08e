"""Passages of articles, each with a fault of each kind planted in it.

In: choosing passages and planting, the same for the same articles and seed. Out: the faults (`planted_faults`), and
who is asked about them (`judge_trial`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from synth_assets.core.planted_faults import FAULT_KINDS, Planting

PARAGRAPHS = 2
MIN_PARAGRAPH_CHARS, MAX_PARAGRAPH_CHARS = 150, 1500
"""Shorter ones are headings and captions, longer ones lists; a passage of two takes some 250 tokens."""


@dataclass(frozen=True)
class Passage:
    """Consecutive paragraphs of one article: the source, and at the same time the text that is faithful to it."""

    name: str
    """Title of the article and number of the passage, unique among the passages of one corpus."""
    title: str
    text: str


@dataclass(frozen=True)
class PlantedCase:
    """One passage with one fault."""

    kind: str
    passage: Passage
    text: str


def passages(articles: Iterable[tuple[str, str]]) -> Iterator[Passage]:
    """The passages of (title, text) articles in order; an article that comes twice is taken once."""
    seen = set()
    for title, text in articles:
        if (title, text) in seen:
            continue
        seen.add((title, text))
        prose = (part for part in text.split("\n\n") if _is_prose(part))
        number = 1
        while len(chosen := list(islice(prose, PARAGRAPHS))) == PARAGRAPHS:
            yield Passage(f"{title} {number}", title, "\n\n".join(chosen))
            number += 1


def _is_prose(paragraph: str) -> bool:
    return MIN_PARAGRAPH_CHARS <= len(paragraph) <= MAX_PARAGRAPH_CHARS and "\n" not in paragraph


def planted_cases(chosen: Sequence[Passage], per_kind: int, seed: int) -> list[PlantedCase]:
    """At most `per_kind` cases of each kind, from passages in an order drawn by `seed`.

    Every kind goes through the same order, so that few passages have to be judged unharmed.
    """
    drawn = random.Random(seed)  # noqa: S311 (no secret: the cases only have to be repeatable)
    order = drawn.sample(list(chosen), len(chosen))
    cases: list[PlantedCase] = []
    for name, kind in FAULT_KINDS.items():
        cases += islice(_harmed(name, kind.plant, order, seed), per_kind)
    return cases


def _harmed(kind: str, plant: Planting, order: Sequence[Passage], seed: int) -> Iterator[PlantedCase]:
    for passage in order:
        rng = random.Random(f"{seed}|{kind}|{passage.name}")  # noqa: S311
        text = plant(passage.text, rng)
        if text is not None:
            yield PlantedCase(kind, passage, text)
