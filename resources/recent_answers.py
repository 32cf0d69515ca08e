"""A ledger that still knows what it has committed last, for tables that are made while answers come in.

In: which answers stay in memory, and for how long. Out: the ledger itself (`resources.ledger`).

A look-up in a lake takes 65 ms of processor time however few answers it is for, and the answers of the last seconds are
mostly asked for by the process that has bought them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from resources.inference import Completion, LedgerEntry
from resources.ledger import Ledger

REMEMBERED_ANSWERS = 4096
"""Some 10 to 40 MB: answers of 2 to 8 KB."""


@dataclass(frozen=True)
class RecentAnswers(Ledger):
    """`Ledger` that hands out the answers that it has committed last from memory, each once: then it is in a table.

    Nothing is remembered before it is committed.
    """

    _recent: OrderedDict[str, Completion] = field(default_factory=OrderedDict, init=False, repr=False, compare=False)

    def record(self, entries: Sequence[LedgerEntry]) -> None:
        """Commit answers in one transaction, then remember them."""
        super().record(entries)
        for entry in entries:
            self._recent[entry.completion.request_key] = entry.completion
        while len(self._recent) > REMEMBERED_ANSWERS:
            self._recent.popitem(last=False)

    def fetch(self, request_keys: Sequence[str]) -> dict[str, Completion]:
        """The answers to those of the keys that have one; the lake is asked for those that are not remembered."""
        # Each step is atomic: another thread records.
        found = {key: answer for key in request_keys if (answer := self._recent.pop(key, None)) is not None}
        missing = [key for key in request_keys if key not in found]
        return {**found, **super().fetch(missing)} if missing else found
