"""What a budget buys: never more than it pays for, more with a larger one, and nothing left that could buy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.allocation import Allocation, Offer, allocate

offers = st.lists(
    st.builds(
        Offer,
        strategy=st.text("abc", min_size=1, max_size=3),
        documents=st.integers(0, 200),
        usd_per_document=st.one_of(st.just(0.0), st.floats(0.01, 1.0)),
        output_tokens_per_document=st.floats(0, 1000),
        weight=st.one_of(st.just(0.0), st.floats(0.1, 10.0)),
    ),
    max_size=5,
)
budgets = st.floats(0, 300)


def spent(bought: list[Allocation]) -> float:
    return sum(part.cost_usd for part in bought)


def counts(bought: list[Allocation]) -> list[int]:
    return [part.documents for part in bought]


@given(offers, budgets)
def test_what_is_bought_is_paid_for_and_was_offered(some, budget):
    bought = allocate(some, budget)
    assert spent(bought) <= budget * (1 + 1e-12)
    assert all(0 <= part.documents <= offer.documents for part, offer in zip(bought, some, strict=True))
    assert [part.strategy for part in bought] == [offer.strategy for offer in some]


@given(offers, budgets, budgets)
def test_a_larger_budget_buys_what_a_smaller_one_does_and_maybe_more(some, one, other):
    less, more = (counts(allocate(some, budget)) for budget in sorted((one, other)))
    assert all(small <= large for small, large in zip(less, more, strict=True))


@given(offers, budgets)
def test_either_everything_is_bought_or_less_than_a_document_is_left(some, budget):
    bought = allocate(some, budget)
    wanting = [
        offer.usd_per_document
        for part, offer in zip(bought, some, strict=True)
        if offer.weight and part.documents < offer.documents
    ]
    assert not wanting or budget - spent(bought) < max(wanting) + 1e-9


@given(offers)
def test_what_costs_nothing_is_bought_first_and_a_weight_of_0_buys_nothing(some):
    for part, offer in zip(allocate(some, 0.0), some, strict=True):
        free = offer.weight and not offer.usd_per_document
        assert part.documents == (offer.documents if free else 0)


def test_dollars_go_by_weight_and_not_documents():
    cheap, dear = Offer("cheap", 10_000, 0.01, 100, weight=1), Offer("dear", 10_000, 0.1, 1000, weight=3)
    bought = allocate([cheap, dear], 40.0)
    assert [part.cost_usd for part in bought] == pytest.approx([10.0, 30.0], abs=0.1)
    assert [part.output_tokens for part in bought] == pytest.approx([100_000, 300_000], rel=0.01)


def test_what_one_strategy_cannot_use_goes_to_the_others_in_proportion():
    small = Offer("small", 10, 0.125, 100)
    others = [Offer("one", 10_000, 0.125, 100, weight=1), Offer("two", 10_000, 0.125, 100, weight=2)]
    assert counts(allocate([small, *others], 310 * 0.125)) == [10, 100, 200]
