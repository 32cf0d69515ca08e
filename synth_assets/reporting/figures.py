"""Figures as people read them: filters for the page's templates.

In: numbers to text, a dash where there is none. Out: where the numbers come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

NONE = "–"
"""Stands where there is no figure, which is not the same as 0."""

_COUNT_LETTERS = ("", "k", "M", "B", "T")
_METRIC_LETTERS = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


def whole(value: float | None) -> str:
    """`12345` as `12,345`."""
    return NONE if _is_missing(value) else f"{value:,.0f}"


def significant(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits without an exponent: `0.000123`, `1.23`, `12,300`."""
    if _is_missing(value):
        return NONE
    assert value is not None
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def fixed(value: float | None, decimals: int = 2) -> str:
    """A fixed number of decimals, for columns that are compared."""
    return NONE if _is_missing(value) else f"{value:,.{decimals}f}"


def usd(value: float | None) -> str:
    """Dollars: cents from one dollar on, three significant digits below."""
    if _is_missing(value):
        return NONE
    assert value is not None
    return f"${value:,.2f}" if abs(value) >= 1 else f"${significant(value)}"


def compact(value: float | None) -> str:
    """Documents and tokens, three significant digits: `1.23 M`, and B for billions."""
    return _with_letter(value, _COUNT_LETTERS)


def metric(value: float | None) -> str:
    """Quantities with a unit, three significant digits and the unit's prefix: `1.23 P` of FLOPs."""
    return _with_letter(value, _METRIC_LETTERS)


def percent(value: float | None) -> str:
    """A share of 1: `12.5%`, and more digits where it is small."""
    if _is_missing(value):
        return NONE
    assert value is not None
    return f"{significant(100 * value)}%"


def signed_percent(value: float | None) -> str:
    """A relative error: `+12%`, and one more digit below one percent."""
    if _is_missing(value):
        return NONE
    assert value is not None
    if value == 0:
        return "0%"
    return f"{value:+.0%}" if abs(value) >= 0.01 else f"{'-' if value < 0 else '+'}{significant(100 * abs(value), 1)}%"


def estimate_error(estimated: float | None, actual: float | None) -> str:
    """How far an estimate was from what came: `+12%` if it was too high (`relative_error` of `reports.estimates`)."""
    if _is_missing(actual) or _is_missing(estimated) or not actual:
        return NONE
    assert estimated is not None
    return signed_percent((estimated - actual) / actual)


def _with_letter(value: float | None, letters: Sequence[str]) -> str:
    if _is_missing(value):
        return NONE
    assert value is not None
    step = 0
    # 999,600 rounds to 1,000 thousand, which is a million.
    while step + 1 < len(letters) and abs(value) >= 999.5 * 1000**step:
        step += 1
    text = significant(value / 1000**step)
    return f"{text} {letters[step]}" if step else text


def _is_missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)
