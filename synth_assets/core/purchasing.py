"""Buying answers: send what the ledger lacks, keep what comes back, remember what failed in this pass.

In: planned requests from any number of documents, partitions and strategies, as one stream. Out: nothing but the
ledger's new rows and the counts; what is measured on the way is told to a `PurchaseMeter`. Which of the requests are to
be sent is `synth_assets.core.missing_requests`, for which there is money `synth_assets.core.affordable_requests`, what
the answers mean `synth_assets.core.generation`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, takewhile

from resources.errors import SynthError
from resources.inference import (
    Completion,
    CompletionLedger,
    CompletionRequest,
    CompletionWriter,
    FailedRequest,
    LedgerEntry,
    PurchaseMeter,
    RequestClaims,
    ServedModel,
    TextGenerator,
)
from synth_assets.core.affordable_requests import AffordableRequests
from synth_assets.core.budget import Account
from synth_assets.core.missing_requests import MissingRequests
from synth_assets.core.request_planning import PlannedRequest

SECONDS_BETWEEN_LOOKS = 0.5
"""How often a run that has nothing else to do looks for what it awaits from another one."""


@dataclass
class PurchaseReport:
    """What one pass bought and what it found in the ledger. Tokens are those of the answers bought."""

    requests_sent: int = 0
    answered_from_ledger: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    awaited_from_other_runs: int = 0
    """Answers that another run is asking for at this moment; 0 at the end of a pass."""
    failures: dict[str, Completion] = field(default_factory=dict)

    def add(self, other: PurchaseReport) -> None:
        """Add the counts of another pass."""
        self.requests_sent += other.requests_sent
        self.answered_from_ledger += other.answered_from_ledger
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.failures.update(other.failures)


Progress = Callable[[PurchaseReport], None]


class Unshared:
    """Claims where nobody else uses the ledger: everything is free; implements `resources.inference.RequestClaims`."""

    def claim(self, request_keys: Collection[str]) -> set[str]:
        """All of them."""
        return set(request_keys)

    def release(self, request_keys: Collection[str]) -> None:
        """Nothing."""

    def __enter__(self) -> Unshared:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


class Unmeasured:
    """A purchase that nobody measures; implements `resources.inference.PurchaseMeter`."""

    def begin(self, model: ServedModel) -> None:
        """Nothing."""

    def answered(self, completion: Completion) -> None:
        """Nothing."""

    def failed(self, request: FailedRequest) -> None:
        """Nothing."""

    def __enter__(self) -> Unmeasured:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


class PurchaseStoppedError(SynthError):
    """The purchase was ended by whoever watches over it."""

    def __init__(self) -> None:
        super().__init__("The purchase was stopped.", "What was answered is kept; `synth run` asks only for the rest.")


class Purchaser:
    """Buys missing answers from one generator into one ledger; a request that failed is not sent again in this pass.

    One instance is one pass: `report` adds up over all its `buy` calls. Each `buy` opens claims of its own, so that
    purchasers of other threads, processes and machines over the same ledger share the work instead of doubling it.
    """

    def __init__(
        self,
        generator: Callable[[], TextGenerator],
        ledger: CompletionLedger,
        open_writer: Callable[[], CompletionWriter],
        on_progress: Progress | None = None,
        open_claims: Callable[[], RequestClaims] = Unshared,
        open_meter: Callable[[], PurchaseMeter] = Unmeasured,
        account: Account | None = None,
    ) -> None:
        self.report = PurchaseReport()
        self.on_progress = on_progress
        self.on_planned: Callable[[], None] = lambda: None
        """Told by whoever plans requests for this purchaser, once for each document."""
        self._generator = generator
        self._ledger = ledger
        self._open_writer = open_writer
        self._open_claims = open_claims
        self._open_meter = open_meter
        self._account = account or Account.unlimited()
        self._stopping = threading.Event()
        self._asking: TextGenerator | None = None

    def stop(self) -> None:
        """End the purchase under way on another thread: there, `buy` raises PurchaseStoppedError."""
        self._stopping.set()
        if self._asking is not None:
            self._asking.stop()

    def buy(
        self, wanted: Iterable[PlannedRequest], on_settled: Callable[[Collection[str]], None] = lambda keys: None
    ) -> PurchaseReport:
        """Ask for every request that the ledger lacks and commit the answers as they come.

        The stream is pulled only as fast as the generator sends. A failed request ends in `failures`, never as a row.
        The generator is asked for only when at least one answer is missing. What another run is asking for is awaited
        at the end, and asked for here when that run fails or dies. `on_settled` is told, on any thread, the keys of
        which the answers are in the ledger now or have failed. It ends early where the account's budget has no room for
        any more: what was not asked for is in neither.
        """
        self._stopping.clear()
        current = PurchaseReport()

        def committed(request_keys: Collection[str]) -> None:
            claims.release(request_keys)
            on_settled(request_keys)

        # Claims are left last: an answer is committed before anybody else may ask for it.
        with (
            self._open_claims() as claims,
            self._open_meter() as meter,
            self._open_writer() as writer,
            self._account as account,
        ):
            writer.on_committed = committed

            def tell() -> None:
                current.answered_from_ledger = missing.answered_count
                current.awaited_from_other_runs = missing.put_aside_count
                if self.on_progress:
                    self.on_progress(current)

            def has_failed(request_key: str) -> bool:
                return request_key in self.report.failures

            missing = MissingRequests(wanted, self._ledger, claims, writer, has_failed, tell, on_settled)
            affordable = AffordableRequests(missing, account)
            while not affordable.is_finished:
                is_sent = self._ask(affordable.round(), missing, writer, meter, current, tell)
                if not is_sent and not affordable.is_finished:
                    self._stopping.wait(SECONDS_BETWEEN_LOOKS)
                if self._stopping.is_set():
                    raise PurchaseStoppedError()
        self.report.add(current)
        return current

    def _ask(
        self,
        requests: Iterator[CompletionRequest],
        missing: MissingRequests,
        writer: CompletionWriter,
        meter: PurchaseMeter,
        current: PurchaseReport,
        tell: Callable[[], None],
    ) -> bool:
        """Send one round; False when there was nothing to send."""
        first = next(requests, None)
        if first is None:
            return False
        generator = self._generator()
        self._asking = generator
        meter.begin(generator.model)
        sent = takewhile(lambda _: not self._stopping.is_set(), chain([first], requests))
        with closing(_generate(generator, sent)) as completions:
            for completion in completions:
                planned = missing.asked(completion.request_key)
                self._account.settle(planned, completion)
                is_kept = self._keep(planned, completion, generator.model, writer, meter, current)
                # Forgotten only when it is kept: at every moment the key is asked, pending or committed.
                missing.settle(completion.request_key, is_kept=is_kept)
                tell()
        return True

    def _keep(
        self,
        planned: PlannedRequest,
        completion: Completion,
        model: ServedModel,
        writer: CompletionWriter,
        meter: PurchaseMeter,
        current: PurchaseReport,
    ) -> bool:
        """Hand an answer to the writer, or note a failure; True for an answer."""
        current.requests_sent += 1
        if completion.error_kind == "context_overflow":
            # Final for this request: kept as an answer, so that it is dropped by name and never asked for again.
            completion = replace(completion, error_kind=None, finish_reason="context_overflow", text="")
        if completion.error_kind is not None:
            current.failures[completion.request_key] = completion
            # At once, not with the other counts at the end: tables are made while the purchase goes on.
            self.report.failures[completion.request_key] = completion
            meter.failed(
                FailedRequest(
                    completion,
                    planned.strategy,
                    planned.document_id,
                    planned.segment_index,
                    model,
                    planned.estimated_prompt_tokens,
                )
            )
            return False
        meter.answered(completion)
        current.prompt_tokens += completion.prompt_tokens
        current.completion_tokens += completion.completion_tokens
        writer.add(
            LedgerEntry(
                completion,
                planned.strategy,
                planned.document_id,
                planned.segment_index,
                model,
                planned.estimated_prompt_tokens,
                planned.estimated_completion_tokens,
                planned.generation,
            )
        )
        return True


def _generate(generator: TextGenerator, requests: Iterator[CompletionRequest]) -> Generator[Completion, None, None]:
    yield from generator.generate(requests)
