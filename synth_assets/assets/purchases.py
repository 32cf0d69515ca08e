"""The two places where money is spent, in one resource: the rephraser's and the judge's purchaser of one pass.

In: both purchasers, the budget that they share, and what it left without answers. Out: the arithmetic of a budget
(`core.budget`), and sending requests (`core.purchasing`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from resources.errors import SynthError
from synth_assets.assets.partition_rows import Item
from synth_assets.core.budget import Budget
from synth_assets.core.buying_ahead import BuyingAhead
from synth_assets.core.generation import Unanswered
from synth_assets.core.purchasing import Purchaser, PurchaseReport


class BudgetReachedError(SynthError):
    """A partition misses answers that the budget had no room for; what it held before stays as it was."""

    def __init__(self, missing_answers: int, documents: int, budget: Budget) -> None:
        super().__init__(
            f"Answers are missing, {missing_answers} for {documents} of the documents: {budget.end}.",
            f"What was answered is kept. {budget.remedy}",
        )


@dataclass(frozen=True)
class Purchases:
    """One purchaser for each model that is asked; each remembers what failed in this pass."""

    rephrase: Purchaser
    judge: Purchaser
    budget: Budget = field(default_factory=Budget)
    """Of the two together; the accounts of both purchasers are on it."""
    missing_answers: dict[tuple[str, str], int] = field(default_factory=dict)
    """Answers that the budget had no room for, by table and file."""
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

    def whole(self, table: str, curator_file: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items of one partition, or BudgetReachedError at their end where the budget left answers out.

        So the partition is replaced as a whole or not at all. What a request that failed has left without an answer is
        passed on as it is.
        """
        missing_answers = documents = 0
        for item in items:
            if isinstance(item, Unanswered) and (unasked := self._unasked(item)):
                missing_answers += unasked
                documents += 1
            elif not documents:
                yield item
        if documents:
            self.missing_answers[table, curator_file] = missing_answers
            raise BudgetReachedError(missing_answers, documents, self.budget)

    def _unasked(self, item: Unanswered) -> int:
        """How many of its answers the budget had no room for; 0 while it has."""
        if not self.budget.is_reached:
            return 0
        failures = self.rephrase.report.failures.keys() | self.judge.report.failures.keys()
        return sum(key not in failures for key in item.request_keys)

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
