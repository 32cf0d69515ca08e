"""Texts that stand after the passage they are made of, as Nemotron-CC has its question pairs.

In: one finished row and its source. Out: which strategies can be read that way (`strategy`), and who asks for it
(`project`). Measured, screened and judged is what the model wrote; the passage joins it afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BETWEEN = "\n\n"
"""Between a passage and what was made of it."""


def after_passages(row: Mapping[str, Any], source: str, separator: str) -> dict[str, Any]:
    """The row with each segment's passage before its text.

    `segments` keep their character ranges in the source; their ranges in the text still cover the model's part only.
    """
    texts: list[str] = []
    spans: list[dict[str, Any]] = []
    position = 0
    for span in row["segments"]:
        passage = source[span["source_start"] : span["source_end"]].strip()
        text = row["text"][span["text_start"] : span["text_end"]]
        start = position + len(passage) + len(BETWEEN)
        spans.append({**span, "text_start": start, "text_end": start + len(text)})
        texts.append(passage + BETWEEN + text)
        position = start + len(text) + len(separator)
    return {**row, "text": separator.join(texts), "segments": spans}


def model_part(text: str, starts: Sequence[int], ends: Sequence[int]) -> str:
    """What the model wrote of a text, given its segments' ranges: all of it, or what stands after each passage."""
    if not starts or starts[0] == 0:
        return text
    return BETWEEN.join(text[start:end] for start, end in zip(starts, ends, strict=True))
