"""Faults planted in a text on purpose, to see who notices: a judge, or a measure.

In: one pure function for each kind, `(text, rng) -> text | None`; None where the text gives no hold for that kind. The
same text and the same state of `rng` give the same result, which is never the text itself. Out: which texts are harmed
(`planted_cases`) and who is asked (`judge_trial`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from synth_assets.core.sentences import sentence_ends

Planting = Callable[[str, random.Random], str | None]

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*", re.ASCII)
_NAME = re.compile(r"(?<=[\w,;] )[^\W\d_]{3,}\b")
"""A word within a sentence; whether it is a name, its capital says."""
_PARAGRAPH_BREAK = "\n\n"
_MIN_SENTENCES = 4
_DRAWS = 20

NAMES = ("Harcastle", "Delorme", "Oyelaran", "Vasquez", "Lindqvist", "Tanizaki", "Brannock", "Szymura")
"""What a name is swapped for; a name that the text has already is not taken."""

INVENTIONS = (
    "A survey of 1873 by Edmund Harcastle counted 412 of them.",
    "The municipal archive of Trondheim holds the only complete record, in 17 volumes.",
    "In 1954 the matter led to a lawsuit that lasted for eleven years.",
    "Napoleon is said to have paid 60,000 francs for a copy.",
    "According to a study from Osaka, the effect is 38 per cent stronger in winter.",
    "It was the subject of an opera by Giacomo Delorme, first performed in Lisbon in 1821.",
    "Since 1988 it has been shown on the coat of arms of Paraguay.",
    "Two thirds of what was known was lost in a fire in Rotterdam in 1907.",
    "Queen Victoria forbade any mention of it between 1862 and 1869.",
    "An expedition led by Ingrid Lindqvist disproved this in 1931.",
    "The Spanish government spends 24 million euros a year on it.",
    "Its weight was given as 915 kilograms in the first catalogue.",
)
"""Statements that no article of the sample corpus supports, with a name or a figure in each."""

FILLERS = (
    "It is worth noting that this is an interesting point in many ways.",
    "There is, of course, a great deal more that could be said about this.",
    "As many people know, things like this are often more complex than they seem.",
    "This is certainly something that deserves to be kept in mind.",
    "All in all, it plays an important role in a variety of contexts.",
    "Needless to say, opinions on such matters may differ from person to person.",
    "In today's world, topics like this one continue to be relevant.",
    "It goes without saying that this should be considered carefully.",
)
"""Sentences that say nothing about anything."""


def swapped_number(text: str, rng: random.Random) -> str | None:
    """One number becomes another one of the same form: its last two digits change (of a one-digit number: the one)."""
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    there = {match[0] for match in found}
    match = rng.choice(found)
    for _ in range(_DRAWS):
        other = _other_number(match[0], rng)
        if other not in there:
            return text[: match.start()] + other + text[match.end() :]
    return None


def _other_number(number: str, rng: random.Random) -> str:
    digits = [place for place, sign in enumerate(number) if sign.isdigit()]
    changed = list(number)
    for place in digits[-2:]:
        # A number does not begin with 0, as the old one does not (or it is a single digit).
        allowed = "123456789" if place == 0 else "0123456789"
        changed[place] = rng.choice([digit for digit in allowed if digit != number[place]])
    return "".join(changed)


def dropped_paragraph(text: str, rng: random.Random) -> str | None:
    """One paragraph of two or more is gone."""
    paragraphs = text.split(_PARAGRAPH_BREAK)
    full = [place for place, paragraph in enumerate(paragraphs) if paragraph.strip()]
    if len(full) < 2:
        return None
    dropped = rng.choice(full)
    return _PARAGRAPH_BREAK.join(paragraph for place, paragraph in enumerate(paragraphs) if place != dropped)


def invented_fact(text: str, rng: random.Random) -> str | None:
    """One sentence that the source does not support stands behind one of the text's own."""
    ends = list(sentence_ends(text))
    inventions = [sentence for sentence in INVENTIONS if sentence not in text]
    if not ends or not inventions:
        return None
    place = rng.choice(ends)
    return f"{text[:place]} {rng.choice(inventions)}{text[place:]}"


def shuffled_sentences(text: str, rng: random.Random) -> str | None:
    """The same sentences in another order; each paragraph keeps its number of sentences."""
    paragraphs = [_sentences(paragraph) for paragraph in text.split(_PARAGRAPH_BREAK)]
    sentences = [sentence for paragraph in paragraphs for sentence in paragraph]
    if len(sentences) < _MIN_SENTENCES:
        return None
    for _ in range(_DRAWS):
        order = iter(rng.sample(sentences, len(sentences)))
        shuffled = _PARAGRAPH_BREAK.join(" ".join(next(order) for _ in paragraph) for paragraph in paragraphs)
        if shuffled.split() != text.split():
            return shuffled
    return None


def filler(text: str, rng: random.Random) -> str | None:
    """A sentence that says nothing stands behind each of the text's own."""
    ends = list(sentence_ends(text))
    if not ends:
        return None
    sentences = rng.sample(FILLERS, len(FILLERS))
    parts = [text[begin:end] for begin, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    between = [f" {sentences[place % len(sentences)]}" for place in range(len(ends))] + [""]
    return "".join(part + empty for part, empty in zip(parts, between, strict=True))


def swapped_name(text: str, rng: random.Random) -> str | None:
    """A capitalised word from within a sentence becomes another name, wherever it stands in the text."""
    names = sorted({match[0] for match in _NAME.finditer(text) if match[0].istitle()})
    others = [name for name in NAMES if name not in text]
    if not names or not others:
        return None
    name, other = rng.choice(names), rng.choice(others)
    return re.sub(rf"\b{re.escape(name)}\b", other, text)


@dataclass(frozen=True)
class FaultKind:
    """One kind of fault, and the judge's dimensions that should suffer; of several, their mean counts."""

    plant: Planting
    dimensions: tuple[str, ...]


FAULT_KINDS: Mapping[str, FaultKind] = {
    "swapped_number": FaultKind(swapped_number, ("faithfulness",)),
    "dropped_paragraph": FaultKind(dropped_paragraph, ("faithfulness", "information_density")),
    "invented_fact": FaultKind(invented_fact, ("faithfulness",)),
    "shuffled_sentences": FaultKind(shuffled_sentences, ("coherence",)),
    "filler": FaultKind(filler, ("information_density",)),
    "swapped_name": FaultKind(swapped_name, ("faithfulness",)),
}
"""By name. To leave something out is no fault by the judge's rubric: a judge that passes `dropped_paragraph` obeys."""


def _sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph without the space between them; what stands behind the last end is one as well."""
    ends = [*sentence_ends(paragraph), len(paragraph)]
    pieces = [paragraph[begin:end].strip() for begin, end in zip([0, *ends], ends, strict=False)]
    return [piece for piece in pieces if piece]
