"""What a budget buys of each strategy: dollars in proportion to weights, and what one cannot use goes to the others.

In: offers and a budget. Out: where the prices come from (`planning.estimate`), and spending (`budget`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Offer:
    """Documents of one strategy that can be bought. Prices and tokens are of one document, and not negative."""

    strategy: str
    documents: int
    usd_per_document: float
    output_tokens_per_document: float
    weight: float = 1.0
    """Dollars go to the offers in this proportion; 0: none."""


@dataclass(frozen=True)
class Allocation:
    """What is bought of one offer."""

    strategy: str
    documents: int
    cost_usd: float
    output_tokens: float


def allocate(offers: Sequence[Offer], budget_usd: float) -> list[Allocation]:
    """Whole documents of each offer, in the order of the offers; together they cost at most the budget.

    Document n of an offer is due when n documents at its price, divided by its weight, are: documents are bought as
    they are due, and the first that the rest of the budget does not pay for ends it. So a larger budget buys what a
    smaller one does and maybe more, and less than one document's price is left where not everything is bought.
    """
    # Exact: with rounded dues a larger budget could buy one document less.
    prices = [Fraction(offer.usd_per_document) for offer in offers]
    weights = [Fraction(offer.weight) for offer in offers]
    wanted = [offer.documents if weight else 0 for offer, weight in zip(offers, weights, strict=True)]
    budget = Fraction(budget_usd)
    level = _level(prices, weights, wanted, budget)
    counts = [
        most if not price or level is None else min(most, int(level * weight // price))
        for price, weight, most in zip(prices, weights, wanted, strict=True)
    ]
    left = budget - sum(count * price for count, price in zip(counts, prices, strict=True))
    while due := [
        ((counts[i] + 1) * prices[i] / weights[i], i) for i in range(len(offers)) if prices[i] and counts[i] < wanted[i]
    ]:
        _, first = min(due)
        if prices[first] > left:
            break
        counts[first] += 1
        left -= prices[first]
    return [
        Allocation(offer.strategy, count, count * offer.usd_per_document, count * offer.output_tokens_per_document)
        for offer, count in zip(offers, counts, strict=True)
    ]


def _level(
    prices: Sequence[Fraction], weights: Sequence[Fraction], wanted: Sequence[int], budget: Fraction
) -> Fraction | None:
    """Dollars for each unit of weight at which all of the budget is used, documents being divisible; None: never."""
    wholes = sorted(
        (count * price / weight, weight) for price, weight, count in zip(prices, weights, wanted, strict=True) if weight
    )
    used_up = Fraction(0)
    weight_left = sum((weight for _, weight in wholes), Fraction(0))
    for whole, weight in wholes:
        if used_up + whole * weight_left > budget:
            return (budget - used_up) / weight_left
        used_up += whole * weight
        weight_left -= weight
    return None
