"""The two places where money is spent, in one resource: the rephraser's and the judge's purchaser of one pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from synth_assets.core.buying_ahead import BuyingAhead
from synth_assets.core.purchasing import Purchaser, PurchaseReport


@dataclass(frozen=True)
class Purchases:
    """One purchaser for each model that is asked; each remembers what failed in this pass."""

    rephrase: Purchaser
    judge: Purchaser
    rephrase_ahead: BuyingAhead = field(init=False)
    judge_ahead: BuyingAhead = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rephrase_ahead", BuyingAhead(self.rephrase))
        object.__setattr__(self, "judge_ahead", BuyingAhead(self.judge))

    def finish(self) -> None:
        """Wait for the end of what is under way; raises what buying rephrases ended with.

        A table has its last answer a moment before the purchase is over: only then are its counts complete.
        """
        self.rephrase_ahead.finish()
        # The step that asked for judgements has failed with the same error, and is named in the summary.
        with contextlib.suppress(Exception):
            self.judge_ahead.finish()

    def stop(self) -> None:
        """End what is under way now: what is in flight is cut off, what is answered is kept."""
        self.rephrase_ahead.stop()
        self.judge_ahead.stop()

    def total(self) -> PurchaseReport:
        """Counts of both together."""
        total = PurchaseReport()
        total.add(self.rephrase.report)
        total.add(self.judge.report)
        return total


@contextlib.contextmanager
def stopped_with_the_step(ahead: BuyingAhead) -> Iterator[None]:
    """Stops buying when the step inside is interrupted. One that fails leaves it alone: others may wait for theirs."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        ahead.stop()
        raise
