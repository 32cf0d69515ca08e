"""The two places where money is spent, in one resource: the rephraser's and the judge's purchaser of one pass."""

from __future__ import annotations

from dataclasses import dataclass

from synth_assets.core.purchasing import Purchaser, PurchaseReport


@dataclass(frozen=True)
class Purchases:
    """One purchaser for each model that is asked; each remembers what failed in this pass."""

    rephrase: Purchaser
    judge: Purchaser

    def total(self) -> PurchaseReport:
        """Counts of both together."""
        total = PurchaseReport()
        total.add(self.rephrase.report)
        total.add(self.judge.report)
        return total
