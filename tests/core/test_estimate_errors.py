"""Estimate against actual: which purchases share a row, and that nothing is lost between rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.estimate_errors import BUCKETS, PlannedTogether, estimate_rows


def bought(
    requests: int, estimated: int = 100, actual: int = 100, strategy: str = "distill", model: str = "small"
) -> PlannedTogether:
    return PlannedTogether(strategy, model, requests, 500, 480, estimated, actual)


def rows(*purchases: PlannedTogether) -> list[dict[str, Any]]:
    return list(estimate_rows(purchases))


def test_a_purchase_counts_as_planned_with_what_was_in_the_ledger_before_it() -> None:
    first, second, third = rows(bought(50), bought(400), bought(30))
    assert [row["answers_before"] for row in (first, second, third)] == [0, 50, 450]
    assert [row["requests"] for row in (first, second, third)] == [50, 400, 30]


def test_purchases_that_begin_in_one_bucket_are_one_row() -> None:
    first, second = rows(bought(10, 30, 20), bought(9, 30, 40), bought(5), bought(70))
    assert (first["answers_before"], first["requests"], first["relative_error"]) == (0, 24, pytest.approx(0.0))
    assert (second["answers_before"], second["requests"]) == (24, 70)


def test_the_error_is_the_estimates_distance_as_a_share_of_what_came() -> None:
    (row,) = rows(bought(10, estimated=150, actual=100))
    assert row["relative_error"] == pytest.approx(0.5)
    (low,) = rows(bought(10, estimated=50, actual=100))
    assert low["relative_error"] == pytest.approx(-0.5)


def test_where_nothing_came_there_is_no_error_to_tell() -> None:
    (row,) = rows(bought(3, actual=0))
    assert row["relative_error"] is None


def test_each_strategy_and_model_begins_with_an_empty_ledger() -> None:
    found = rows(bought(500), bought(500, model="tall"), bought(500, strategy="diverse_qa"))
    assert [(row["strategy"], row["model"], row["answers_before"]) for row in found] == [
        ("distill", "small", 0),
        ("distill", "tall", 0),
        ("diverse_qa", "small", 0),
    ]


def test_nothing_bought_is_no_row() -> None:
    assert rows() == []


@given(
    st.lists(
        st.builds(
            bought,
            st.integers(1, 50_000),
            st.integers(0, 10_000),
            st.integers(0, 10_000),
            st.sampled_from(["distill", "diverse_qa"]),
            st.sampled_from(["small", "tall"]),
        ),
        max_size=40,
    )
)
def test_rows_add_up_to_the_purchases_and_no_two_share_a_bucket(purchases: list[PlannedTogether]) -> None:
    purchases.sort(key=lambda each: (each.strategy, each.model))
    found = rows(*purchases)
    for name in ("requests", "prompt_tokens", "completion_tokens", "estimated_completion_tokens"):
        assert sum(row[name] for row in found) == sum(getattr(each, name) for each in purchases)
    buckets = [
        (row["strategy"], row["model"], sum(bound <= row["answers_before"] for bound in BUCKETS)) for row in found
    ]
    assert len(set(buckets)) == len(buckets)
