"""Figures are short, keep their meaning, and say when there is none."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.reporting import figures
from synth_assets.reporting.embedding import with_code


@pytest.mark.parametrize(
    ("write", "value", "expected"),
    [
        (figures.significant, 0.000123456, "0.000123"),
        (figures.significant, 999.9, "1,000"),
        (figures.significant, -1234567.0, "-1,230,000"),
        (figures.significant, 0, "0"),
        (figures.usd, 0.0312, "$0.0312"),
        (figures.signed_percent, 0.804, "+80%"),
        (figures.signed_percent, -0.034, "-3%"),
        (figures.signed_percent, -0.00412, "-0.4%"),
        (figures.signed_percent, 0.0, "0%"),
        (figures.usd, 1234.5, "$1,234.50"),
        (figures.compact, 999_600, "1 M"),
        (figures.compact, 1_520_000_000, "1.52 B"),
        (figures.metric, 4.85e15, "4.85 P"),
        (figures.percent, 0.0021, "0.21%"),
        (figures.whole, None, "–"),
        (figures.usd, math.nan, "–"),
    ],
)
def test_figures_are_written_for_people(
    write: Callable[[float | None], str], value: float | None, expected: str
) -> None:
    assert write(value) == expected


def test_an_estimate_that_was_too_high_is_off_by_plus() -> None:
    assert figures.estimate_error(131, 100) == "+31%"
    assert figures.estimate_error(3_950, 3_960) == "-0.3%"
    assert figures.estimate_error(None, 100) == figures.estimate_error(100, 0) == figures.NONE


@given(st.floats(min_value=1e-12, max_value=1e15))
def test_a_figure_as_written_is_within_half_a_percent_of_the_figure(value: float) -> None:
    assert float(figures.significant(value).replace(",", "")) == pytest.approx(value, rel=0.0051)


def test_what_stands_between_backticks_is_code_and_everything_is_escaped() -> None:
    assert with_code("Run `synth <b>` & wait.") == "Run <code>synth &lt;b&gt;</code> &amp; wait."
    assert with_code("one ` and <b>") == "one ` and &lt;b&gt;", "a single one is a backtick"
