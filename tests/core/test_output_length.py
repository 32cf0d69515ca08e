"""Expected answers: published ratios first, then a line through what the ledger has, with an honest range."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.output_length import (
    MIN_ANSWERS_TO_LEARN_FROM,
    OUTPUT_TOKEN_PRIORS,
    AnswerTotals,
    OutputLength,
    output_length,
    published_length,
)

FIXED_PROMPT = 100
LIMIT = 600


def totals(pairs: Sequence[tuple[float, float]]) -> AnswerTotals:
    """Of (prompt tokens, completion tokens), each answer of a document of its own."""
    count = len(pairs)
    mean_x, mean_y = (sum(pair[side] for pair in pairs) / count for side in (0, 1))
    return AnswerTotals(
        answers=count,
        documents=count,
        mean_prompt_tokens=mean_x,
        mean_completion_tokens=mean_y,
        prompt_variance=sum((x - mean_x) ** 2 for x, _ in pairs) / count,
        completion_variance=sum((y - mean_y) ** 2 for _, y in pairs) / count,
        covariance=sum((x - mean_x) * (y - mean_y) for x, y in pairs) / count,
    )


def learned(pairs: Sequence[tuple[float, float]], strategy: str = "distill") -> OutputLength:
    return output_length(published_length(strategy, LIMIT), FIXED_PROMPT, totals(pairs) if pairs else None)


def test_priors_are_a_share_of_the_input_and_capped():
    assert published_length("distill", 1600).expected(0, 1000) == pytest.approx(350)
    assert published_length("wiki_rephrase", 512).expected(0, 1000) == 512
    assert 0 < published_length("someone_elses_strategy", 500).expected(0, 100) < 100
    assert all(0 < ratio <= 1 for ratio in OUTPUT_TOKEN_PRIORS.values())


def test_too_few_answers_leave_the_prior():
    few = [(FIXED_PROMPT + 100, 400.0)] * (MIN_ANSWERS_TO_LEARN_FROM - 1)
    assert learned(few).source == learned([]).source == "prior"
    assert learned(few).expected(FIXED_PROMPT + 200, 200) == pytest.approx(70)
    assert learned([*few, few[0]]).source == "ledger"


def test_answers_to_prompts_of_one_length_are_taken_to_grow_half_as_fast_as_the_source():
    length = learned([(FIXED_PROMPT + 200, 100.0)] * 50)
    assert length.expected(FIXED_PROMPT + 200, 0) == pytest.approx(100)
    assert length.expected(FIXED_PROMPT + 100, 0) == pytest.approx(75)


def test_answers_that_do_not_grow_with_the_prompt_are_expected_not_to():
    length = learned([(FIXED_PROMPT + size, 150.0) for size in range(50, 550)])
    assert length.expected(FIXED_PROMPT + 500, 0) == pytest.approx(150, rel=0.1)
    assert length.expected(FIXED_PROMPT + 100, 0) == pytest.approx(150, rel=0.1)


def test_a_fixed_part_and_a_share_are_both_learned():
    length = learned([(FIXED_PROMPT + size, 80 + 0.3 * size) for size in range(50, 550)])
    assert length.expected(FIXED_PROMPT + 400, 0) == pytest.approx(200, rel=0.02)


@given(st.floats(0, 5000), st.lists(st.tuples(st.floats(101, 2000), st.floats(0, 600)), min_size=20, max_size=40))
def test_no_answer_is_expected_to_be_empty_or_longer_than_asked_for(prompt, pairs):
    assert 0 <= learned(pairs).expected(prompt, 0) <= LIMIT


@given(st.floats(0, 10_000), st.integers(0, 100), st.integers(0, 100))
def test_the_range_holds_what_is_expected(expected, requests, documents):
    for length in (learned([]), learned([(FIXED_PROMPT + size, size / 3) for size in range(50, 100)])):
        found = length.sum_range(expected, requests, documents)
        assert 0 <= found.low <= found.expected == expected <= found.high


def test_nineteen_of_twenty_sums_fall_into_the_learned_range():
    rng = random.Random(0)

    def draw(count: int) -> list[tuple[float, float]]:
        sizes = [rng.uniform(100, 500) for _ in range(count)]
        return [(FIXED_PROMPT + size, 0.5 * size * rng.uniform(0.4, 1.6)) for size in sizes]

    inside = 0
    for _ in range(1000):
        length, coming = learned(draw(60)), draw(40)
        expected = sum(length.expected(prompt, 0) for prompt, _ in coming)
        found = length.sum_range(expected, len(coming), len(coming))
        inside += found.low <= sum(answer for _, answer in coming) <= found.high
    assert 0.92 < inside / 1000 < 0.98


def test_the_range_narrows_as_the_ledger_grows():
    pairs = [(FIXED_PROMPT + size, size * (0.3 + 0.4 * (size % 2))) for size in range(100, 500)]
    widths = []
    for count in (0, 20, 200):
        found = learned(pairs[:count]).sum_range(10_000, 100, 100)
        widths.append(found.high - found.low)
    assert widths[0] > 2 * widths[1] > 2 * widths[2]
