"""What no strategy may hand on as training text: each gate catches one way in which a rephrasing fails.

In: the gates that a strategy picks from, and their default limits with reasons. Out: what is measured without a
verdict (`measures`), cut or broken answers (`postprocessing`), copies of evaluation sets (`decontamination`). A gate
looks at one document's text and source, in a fraction of a millisecond, for it stands on the way of every answer.
Changing one costs no call: the answers are in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from synth_assets.core.measures.language import language_of
from synth_assets.core.measures.repetition import compression_ratio, duplicate_share
from synth_assets.core.measures.words import Words
from synth_assets.core.screening import Rejection

STAGE = "gates"
"""The stage that drops by a gate name."""


@dataclass(frozen=True)
class Gate:
    """One reason to leave a text out, and a `screening.Screen`."""

    name: str
    why: str
    check: Callable[[str, str], str | None]
    """Says of (source, text) which value broke which limit; None lets the text pass."""

    def __call__(self, source: str, text: str) -> Rejection | None:
        """The rejection, whose detail names gate, value and limit."""
        found = self.check(source, text)
        return None if found is None else Rejection(STAGE, "low_quality", f"{self.name}: {found}")


SUSPICIOUS_COMPRESSION = 3.0
"""Prose of 2 to 8 KB compresses to a half or a little less; under a third, it is worth counting what is repeated."""


def repeats_itself(most_share: float = 0.3) -> Gate:
    """Rejects a text with more than this share of its characters in 10-grams that stood there before.

    Gopher's limit is 0.1 (Rae et al. 2021, table A1); three times that is a model that ran in circles. Lists of facts
    repeat their subject, and some sources repeat themselves: a text may do so half as much again as its source.
    """

    def check(source: str, text: str) -> str | None:
        if compression_ratio(text) < SUSPICIOUS_COMPRESSION:
            return None
        share = duplicate_share(Words.of(text), 10)
        if share <= most_share or share <= 1.5 * duplicate_share(Words.of(source), 10):
            return None
        return f"{share:.2f} of the characters in repeated 10-grams, at most {most_share:.2f}"

    return Gate("repeats_itself", "A loop teaches a model to loop.", check)


COPY_PROBES = 16
COPY_PROBE_CHARS = 48


def copies_its_source(most_share: float = 0.9) -> Gate:
    """Rejects a text of which more than this share stands in its source to the letter.

    By 16 evenly spaced pieces of 48 characters, white space made one, so that it costs microseconds. A shorter text
    passes.
    """

    def check(source: str, text: str) -> str | None:
        said = " ".join(text.split())
        if len(said) < COPY_PROBES * COPY_PROBE_CHARS:
            return None
        given = " ".join(source.split())
        step = (len(said) - COPY_PROBE_CHARS) / (COPY_PROBES - 1)
        starts = [int(number * step) for number in range(COPY_PROBES)]
        share = sum(said[start : start + COPY_PROBE_CHARS] in given for start in starts) / COPY_PROBES
        return f"{share:.2f} of the text is the source's, at most {most_share:.2f}" if share > most_share else None

    return Gate("copies_its_source", "The original is in the training data already.", check)


NEVER_TOO_LONG_CHARS = 1000
"""What is made of a stub is many times as long, as a text has to be 50 tokens at least."""


def length_ratio(least: float, most: float) -> Gate:
    """Rejects a text whose characters by those of its source are under or, from 1,000 characters on, over a bound."""

    def check(source: str, text: str) -> str | None:
        ratio = len(text) / max(len(source), 1)
        if least <= ratio and (ratio <= most or len(text) <= NEVER_TOO_LONG_CHARS):
            return None
        return f"{ratio:.3g} times as long as the source, {least} to {most}"

    return Gate("length_ratio", "Far from the source's length it is padding, or a stub of it.", check)


LEAST_CHARS_FOR_LANGUAGE = 200
LANGUAGE_CONFIDENCE = 0.8


ENOUGH_SHARED_WORDS = 0.3
"""Of a text's different words: two languages share names and numbers, a rephrasing has half of its source's words."""
CHARS_COMPARED = 600


def _shares_words(source: str, text: str) -> bool:
    """Whether both are in one language for certain, at a third of what asking for the language takes."""
    said = set(text[:CHARS_COMPARED].lower().split())
    return len(said.intersection(source.lower().split())) >= ENOUGH_SHARED_WORDS * len(said)


def drifts_to_another_language() -> Gate:
    """Rejects a text in another language than its source's, where both are told with a confidence of 0.8 or more.

    Texts under 200 characters pass: they are names and numbers, often enough.
    """

    def check(source: str, text: str) -> str | None:
        if min(len(source), len(text)) < LEAST_CHARS_FOR_LANGUAGE or _shares_words(source, text):
            return None
        spoken = language_of(text, LANGUAGE_CONFIDENCE)
        asked = language_of(source, LANGUAGE_CONFIDENCE) if spoken else None
        if asked is None or asked == spoken:
            return None
        return f"{spoken} of a source in {asked}"

    return Gate("drifts_to_another_language", "The prompt asks for the language of the text.", check)


def standard_gates(least_ratio: float = 0.02, most_ratio: float = 8.0) -> tuple[Gate, ...]:
    """What every strategy should have. A fiftieth of the source is its title, eight times the source is invented."""
    return (length_ratio(least_ratio, most_ratio), repeats_itself(), drifts_to_another_language())


DEFAULT_GATES = standard_gates()
