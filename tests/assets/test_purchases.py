"""What a spent budget leaves of a partition: all of it or nothing, and the number of answers that are missing."""

from __future__ import annotations

import pytest

from resources.inference import Completion
from resources.testing import FakeGenerator
from synth_assets.assets.purchases import BudgetReachedError, Purchases
from synth_assets.core.budget import Budget
from synth_assets.core.generation import Unanswered
from synth_assets.core.purchasing import Purchaser


@pytest.fixture
def purchases() -> Purchases:
    """With a budget that is spent: nothing fits into it."""
    budget = Budget(max_usd=1.0, usd_per_gpu_hour=2.0)
    budget.reserve("anything", 0.4)
    budget.settle("anything", 0.4)
    budget.reserve("anything", 0.2)
    made = [Purchaser(FakeGenerator, None, lambda: None) for _ in range(2)]  # pyright: ignore[reportArgumentType]
    return Purchases(*made, budget)


def test_a_partition_with_all_of_its_answers_is_passed_on(purchases):
    assert list(purchases.whole("rephrased.distill", "a.jsonl", [{"n": 1}, {"n": 2}])) == [{"n": 1}, {"n": 2}]
    assert purchases.missing_answers == {}


def test_one_that_misses_some_raises_with_their_number_and_is_named(purchases):
    items = [{"n": 1}, Unanswered("d", "a.jsonl", ("k1", "k2")), {"n": 2}, Unanswered("e", "a.jsonl", ("k3",))]
    passed = []
    with pytest.raises(BudgetReachedError, match="3 for 2 of the documents: the budget of 1 USD is spent"):
        passed += purchases.whole("rephrased.distill", "a.jsonl", items)
    assert purchases.missing_answers == {("rephrased.distill", "a.jsonl"): 3}


def test_what_failed_by_itself_is_not_put_down_to_the_budget(purchases):
    purchases.judge.report.failures["k1"] = Completion("k1", error_kind="server_error")
    failed = Unanswered("d", "a.jsonl", ("k1",))
    assert list(purchases.whole("metrics.judge_scores", "a.jsonl", [failed])) == [failed]


def test_while_the_budget_lasts_a_missing_answer_is_a_failure_like_any_other(purchases):
    purchases.budget.is_reached = False
    failed = Unanswered("d", "a.jsonl", ("k1",))
    assert list(purchases.whole("rephrased.distill", "a.jsonl", [failed])) == [failed]
