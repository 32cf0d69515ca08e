"""Text for the benchmarks that costs what prose costs: words of one sample article, as frequent as there, at random.

In: words and sentences. Out: which documents and answers are made of them. As in a rephrasing, half of the words of one
are in the other, and they compress to half. Of texts of a few dozen words each was suspected of running in circles and
of having changed the language, which trebled the time that gates take (`NOTES.md`).
"""

from __future__ import annotations

import json
import random

from synth_assets.settings import SAMPLE_CORPUS


def _running_words() -> tuple[str, ...]:
    with min(SAMPLE_CORPUS.glob("*.jsonl")).open() as lines:
        text: str = json.loads(next(lines))["text"]
    words = (word.strip(".,;:()").lower() for word in text.split())
    return tuple(word for word in words if word.isalpha())


WORDS = _running_words()


def sentence(drawn: random.Random, word_count: int = 12) -> str:
    """A sentence that says nothing."""
    return " ".join(drawn.choices(WORDS, k=word_count)).capitalize() + "."
