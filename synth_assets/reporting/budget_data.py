"""What a budget buys of a larger corpus, strategy by strategy, at the prices of the bill.

In: the bill's rows as offers. Out: how a budget is divided (`core.allocation`), the bill itself (`data.cost`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synth_assets.core.allocation import Allocation, Offer, allocate
from synth_assets.reporting.chart_style import Row

FACTOR = 1000
"""Times today's documents: at today's size a budget of cents would be divided."""

SHARES = (0.1, 0.25, 0.5, 1.0)
"""Of the price of everything."""

NO_STRATEGIES = frozenset({"total", "judge"})
"""Rows of the bill that are none."""


@dataclass(frozen=True)
class BudgetRow:
    """What one budget buys; `share` is the budget over the price of everything."""

    share: float
    budget_usd: float
    allocations: list[Allocation]

    @property
    def output_tokens(self) -> float:
        """Of all strategies together."""
        return sum(bought.output_tokens for bought in self.allocations)


def budget_rows(bill: Sequence[Row], documents: int) -> list[BudgetRow]:
    """A row for each of `SHARES`; empty where nothing has been bought for the `documents` of the bill."""
    offers = _offers(bill, documents)
    price = sum(offer.documents * offer.usd_per_document for offer in offers)
    if not price:
        return []
    return [BudgetRow(share, share * price, allocate(offers, share * price)) for share in SHARES]


def _offers(bill: Sequence[Row], documents: int) -> list[Offer]:
    """The strategies with equal weights; a document costs what it did on average. Judging is not in it."""
    strategies = sorted({row["strategy"] for row in bill} - NO_STRATEGIES)
    offers = []
    for name in strategies if documents else ():
        rows = [row for row in bill if row["strategy"] == name]
        usd, tokens = (sum(row[column] or 0 for row in rows) for column in ("cost_usd", "completion_tokens"))
        offers.append(Offer(name, FACTOR * documents, usd / documents, tokens / documents))
    return offers
