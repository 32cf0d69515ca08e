"""What rejects a finished text: the form that gates and decontamination share.

In: the value object and the callable. Out: what is looked at (`gates`, `decontamination`), and where (`generation`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rejection:
    """Why a text is no training text. `reason` is one of `tables.DROP_REASONS`, `stage` names who looked."""

    stage: str
    reason: str
    detail: str


Screen = Callable[[str, str], Rejection | None]
"""Looks at (source text, finished text); None lets it pass."""


def first_rejection(screens: Sequence[Screen], source: str, text: str) -> Rejection | None:
    """What the first screen that rejects the text says."""
    return next((found for screen in screens if (found := screen(source, text)) is not None), None)
