"""Buying answers: send what the ledger lacks, keep what comes back, remember what failed in this pass.

In: planned requests from any number of documents, partitions and strategies, as one stream. Out: nothing but the
ledger's new rows and the counts. What the answers mean is `synth_assets.core.generation`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice

from resources.inference import (
    Completion,
    CompletionLedger,
    CompletionRequest,
    CompletionWriter,
    LedgerEntry,
    TextGenerator,
)
from synth_assets.core.request_planning import PlannedRequest

FIRST_LOOKUP, LATER_LOOKUPS = 256, 4096
"""Keys per ledger look-up: the first is small so that the pipe fills at once, later ones amortise the query."""


@dataclass
class PurchaseReport:
    """What one pass bought and what it found in the ledger. Tokens are those of the answers bought."""

    requests_sent: int = 0
    answered_from_ledger: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failures: dict[str, Completion] = field(default_factory=dict)

    def add(self, other: PurchaseReport) -> None:
        """Add the counts of another pass."""
        self.requests_sent += other.requests_sent
        self.answered_from_ledger += other.answered_from_ledger
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.failures.update(other.failures)


Progress = Callable[[PurchaseReport], None]


class Purchaser:
    """Buys missing answers from one generator into one ledger; a request that failed is not sent again in this pass.

    One instance is one pass: `report` adds up over all its `buy` calls.
    """

    def __init__(
        self,
        generator: Callable[[], TextGenerator],
        ledger: CompletionLedger,
        open_writer: Callable[[], CompletionWriter],
        on_progress: Progress | None = None,
    ) -> None:
        self.report = PurchaseReport()
        self.settled: set[Hashable] = set()
        """What callers have bought for in this pass, under names of their own, and need not ask for again."""
        self.on_progress = on_progress
        self.on_planned: Callable[[], None] = lambda: None
        """Told by whoever plans requests for this purchaser, once for each document."""
        self._generator = generator
        self._ledger = ledger
        self._open_writer = open_writer

    def buy(self, wanted: Iterable[PlannedRequest]) -> PurchaseReport:
        """Ask for every request that the ledger lacks and commit the answers as they come.

        The stream is pulled only as fast as the generator sends. A failed request ends in `failures`, never as a row.
        The generator is asked for only when at least one answer is missing.
        """
        current = PurchaseReport()
        asked: dict[str, PlannedRequest] = {}
        with self._open_writer() as writer:
            missing = self._missing(wanted, asked, writer, current)
            first = next(missing, None)
            if first is not None:
                generator = self._generator()
                with closing(_generate(generator, _chain(first, missing))) as completions:
                    for completion in completions:
                        # Forgotten only when it is kept: at every moment the key is asked, pending or committed.
                        self._keep(asked[completion.request_key], completion, generator, writer, current)
                        del asked[completion.request_key]
        self.report.add(current)
        return current

    def _missing(
        self,
        wanted: Iterable[PlannedRequest],
        asked: dict[str, PlannedRequest],
        writer: CompletionWriter,
        current: PurchaseReport,
    ) -> Iterator[CompletionRequest]:
        stream = iter(wanted)
        size = FIRST_LOOKUP
        while chunk := list(islice(stream, size)):
            size = LATER_LOOKUPS
            by_key = {planned.request.request_key: planned for planned in chunk}
            # In flight and uncommitted first, the ledger second: a key that is committed in between is found by one.
            under_way = set(asked) | writer.pending_keys()
            known = self._ledger.known_keys(list(by_key))
            for key, planned in by_key.items():
                if key in known or key in under_way:
                    current.answered_from_ledger += 1
                elif key not in self.report.failures and key not in current.failures:
                    asked[key] = planned
                    yield planned.request
            if self.on_progress:
                self.on_progress(current)

    def _keep(
        self,
        planned: PlannedRequest,
        completion: Completion,
        generator: TextGenerator,
        writer: CompletionWriter,
        current: PurchaseReport,
    ) -> None:
        current.requests_sent += 1
        if completion.error_kind == "context_overflow":
            # Final for this request: kept as an answer, so that it is dropped by name and never asked for again.
            completion = replace(completion, error_kind=None, finish_reason="context_overflow", text="")
        if completion.error_kind is None:
            current.prompt_tokens += completion.prompt_tokens
            current.completion_tokens += completion.completion_tokens
            writer.add(
                LedgerEntry(
                    completion,
                    planned.strategy,
                    planned.document_id,
                    planned.segment_index,
                    generator.model,
                    planned.estimated_prompt_tokens,
                    planned.estimated_completion_tokens,
                )
            )
        else:
            current.failures[completion.request_key] = completion
        if self.on_progress:
            self.on_progress(current)


def _generate(generator: TextGenerator, requests: Iterator[CompletionRequest]) -> Generator[Completion, None, None]:
    yield from generator.generate(requests)


def _chain(first: CompletionRequest, rest: Iterator[CompletionRequest]) -> Iterator[CompletionRequest]:
    yield first
    yield from rest
