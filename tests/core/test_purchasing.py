"""Buying: what is asked, what is kept, and what is never asked twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.inference import Completion, CompletionRequest, LedgerEntry
from resources.lake import Lake
from resources.ledger import Ledger
from resources.ledger_writer import LedgerWriter
from resources.testing import FakeGenerator
from synth_assets.core.missing_requests import FIRST_LOOKUP
from synth_assets.core.purchasing import Purchaser, PurchaseStoppedError
from synth_assets.core.request_planning import PlannedRequest
from synth_assets.core.strategy import Strategy
from synth_assets.strategies import discover

DISTILL: Strategy = next(strategy for strategy in discover() if strategy.name == "distill")


class MemoryLedger:
    """Entries in a dict; refuses a second answer to one key."""

    def __init__(self) -> None:
        self.entries: dict[str, LedgerEntry] = {}

    def known_keys(self, request_keys: Sequence[str], since: datetime | None = None) -> set[str]:
        return set(request_keys) & self.entries.keys()

    def fetch(self, request_keys: Sequence[str]) -> dict[str, Completion]:
        return {key: self.entries[key].completion for key in request_keys if key in self.entries}

    def record(self, entries: Sequence[LedgerEntry]) -> None:
        for entry in entries:
            assert entry.completion.request_key not in self.entries
            self.entries[entry.completion.request_key] = entry


class BatchWriter:
    """Commits every `batch` answers, and the rest on exit, as the ledger's own writer does."""

    def __init__(self, ledger: MemoryLedger, batch: int) -> None:
        self._ledger, self._batch = ledger, batch
        self._pending: list[LedgerEntry] = []
        self.on_committed: Callable[[Sequence[str]], None] = lambda keys: None

    def add(self, entry: LedgerEntry) -> None:
        self._pending.append(entry)
        if len(self._pending) >= self._batch:
            self._commit()

    def pending_keys(self) -> set[str]:
        return {entry.completion.request_key for entry in self._pending}

    def __enter__(self) -> BatchWriter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._commit()

    def _commit(self) -> None:
        self._ledger.record(self._pending)
        self._pending = []


def wanted(names: Iterable[str]) -> Iterator[PlannedRequest]:
    for index, name in enumerate(names):
        request = CompletionRequest(name, DISTILL.messages("Title", f"Text of {name}."), DISTILL.sampling)
        yield PlannedRequest(request, "distill", f"document-{name}", index, 100, 50)


def purchaser(
    generator: FakeGenerator, ledger: MemoryLedger | None = None, batch: int = 3
) -> tuple[Purchaser, MemoryLedger]:
    found = ledger or MemoryLedger()
    return Purchaser(lambda: generator, found, lambda: BatchWriter(found, batch)), found


def failing_on(*names: str, kind: str = "server_error") -> Callable[[CompletionRequest], Completion | str]:
    def answer(request: CompletionRequest) -> Completion | str:
        if request.request_key in names:
            return Completion(request.request_key, error_kind=kind, error="as told")  # pyright: ignore[reportArgumentType]
        return "An answer."

    return answer


def asked(generator: FakeGenerator) -> list[str]:
    return [request.request_key for request in generator.requests]


@given(
    names=st.lists(st.sampled_from("abcdefghij"), max_size=40),
    known=st.sets(st.sampled_from("abcdefghij")),
    failing=st.sets(st.sampled_from("abcdefghij")),
    batch=st.integers(1, 7),
)
def test_each_key_that_the_ledger_lacks_is_asked_exactly_once(names, known, failing, batch):
    ledger = MemoryLedger()
    before, _ = purchaser(FakeGenerator(), ledger)
    before.buy(wanted(sorted(known)))
    generator = FakeGenerator(failing_on(*failing))
    buyer, _ = purchaser(generator, ledger, batch)
    report = buyer.buy(wanted(names))
    assert asked(generator) == list(dict.fromkeys(name for name in names if name not in known))
    assert report.requests_sent == generator.request_count
    assert set(ledger.entries) == known | (set(names) - failing)
    assert set(report.failures) == (set(names) & failing) - known


def test_what_the_ledger_has_is_not_asked_and_no_generator_is_made():
    buyer, ledger = purchaser(FakeGenerator())
    buyer.buy(wanted("abc"))

    def no_server() -> FakeGenerator:
        raise AssertionError("a generator was asked for")

    report = Purchaser(no_server, ledger, lambda: BatchWriter(ledger, 3)).buy(wanted("abc"))
    assert (report.requests_sent, report.answered_from_ledger) == (0, 3)


@pytest.mark.parametrize("distance", [1, FIRST_LOOKUP + 10])
def test_the_same_key_again_in_one_stream_is_asked_once_however_far_apart(distance):
    names = ["same", *(f"other-{number}" for number in range(distance - 1)), "same"]
    generator = FakeGenerator()
    buyer, ledger = purchaser(generator, batch=10_000)
    buyer.buy(wanted(names))
    assert asked(generator).count("same") == 1
    assert ledger.entries["same"].segment_index == (distance if distance == 1 else 0)


def test_a_failure_is_not_asked_again_in_the_pass_and_is_in_the_next():
    generator = FakeGenerator(failing_on("b"))
    buyer, ledger = purchaser(generator)
    buyer.buy(wanted("abc"))
    buyer.buy(wanted("abc"))
    assert asked(generator).count("b") == 1
    assert set(buyer.report.failures) == {"b"}
    assert buyer.report.failures["b"].error == "as told"
    assert "b" not in ledger.entries

    repaired = FakeGenerator()
    next_pass, _ = purchaser(repaired, ledger)
    next_pass.buy(wanted("abc"))
    assert asked(repaired) == ["b"]


def test_a_context_overflow_is_kept_as_an_answer_and_never_asked_again():
    generator = FakeGenerator(failing_on("b", kind="context_overflow"))
    buyer, ledger = purchaser(generator)
    report = buyer.buy(wanted("abc"))
    assert report.failures == {}
    kept = ledger.entries["b"].completion
    assert (kept.finish_reason, kept.error_kind, kept.text) == ("context_overflow", None, "")
    again, _ = purchaser(generator, ledger)
    again.buy(wanted("abc"))
    assert generator.request_count == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_was_answered_before_an_interruption_is_kept_and_not_asked_again(error):
    def answer(request: CompletionRequest) -> str:
        if request.request_key == "d":
            raise error
        return "An answer."

    buyer, ledger = purchaser(FakeGenerator(answer), batch=10_000)
    with pytest.raises(error):
        buyer.buy(wanted("abcdef"))
    assert set(ledger.entries) == {"a", "b", "c"}

    later = FakeGenerator()
    purchaser(later, ledger)[0].buy(wanted("abcdef"))
    assert asked(later) == ["d", "e", "f"]


def test_an_interruption_closes_the_generator_so_that_nothing_more_is_sent():
    closed: list[bool] = []

    class Watched(FakeGenerator):
        def generate(self, requests: Iterable[CompletionRequest]) -> Iterator[Completion]:
            try:
                yield from super().generate(requests)
            finally:
                closed.append(True)

    class FullLedger(MemoryLedger):
        def record(self, entries: Sequence[LedgerEntry]) -> None:
            raise OSError("disk full")

    generator = Watched()
    buyer, _ = purchaser(generator, FullLedger(), batch=2)
    with pytest.raises(OSError, match="disk full"):
        buyer.buy(wanted("abcdef"))
    assert closed == [True]
    assert generator.request_count == 2


def test_the_stream_is_pulled_only_as_far_as_one_look_up_ahead():
    pulled: list[str] = []

    def endless() -> Iterator[str]:
        for number in range(10 * FIRST_LOOKUP):
            pulled.append(str(number))
            yield str(number)

    def answer(request: CompletionRequest) -> str:
        raise KeyboardInterrupt

    buyer, _ = purchaser(FakeGenerator(answer))
    with pytest.raises(KeyboardInterrupt):
        buyer.buy(wanted(endless()))
    assert len(pulled) == FIRST_LOOKUP


def test_an_entry_says_what_it_was_bought_for_and_what_was_expected():
    buyer, ledger = purchaser(FakeGenerator())
    buyer.buy(wanted("ab"))
    entry = ledger.entries["b"]
    assert (entry.strategy, entry.document_id, entry.segment_index) == ("distill", "document-b", 1)
    assert (entry.estimated_prompt_tokens, entry.estimated_completion_tokens) == (100, 50)
    assert entry.model == FakeGenerator().model


def test_the_report_adds_up_tokens_of_bought_answers_over_all_calls_of_a_pass():
    buyer, ledger = purchaser(FakeGenerator(failing_on("c")))
    buyer.buy(wanted("ab"))
    buyer.buy(wanted("bcd"))
    bought = [entry.completion for entry in ledger.entries.values()]
    assert buyer.report.requests_sent == 4
    assert buyer.report.answered_from_ledger == 1
    assert buyer.report.prompt_tokens == sum(answer.prompt_tokens for answer in bought)
    assert buyer.report.completion_tokens == sum(answer.completion_tokens for answer in bought)


def test_progress_is_told_the_counts_while_buying():
    buyer, _ = purchaser(FakeGenerator())
    told: list[int] = []
    buyer.on_progress = lambda report: told.append(report.requests_sent)
    buyer.buy(wanted("abc"))
    assert told[-1] == 3
    assert told == sorted(told)


def test_the_real_ledger_keeps_what_was_answered_before_an_interruption(tmp_path):
    lake = Lake(f"sqlite:{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data")
    ledger = Ledger(lake)

    def answer(request: CompletionRequest) -> str:
        if request.request_key == "c":
            raise KeyboardInterrupt
        return f"Answer to {request.request_key}."

    buyer = Purchaser(lambda: FakeGenerator(answer), ledger, lambda: LedgerWriter(ledger))
    with pytest.raises(KeyboardInterrupt):
        buyer.buy(wanted("abcd"))
    kept = ledger.fetch(["a", "b", "c", "d"])
    assert {key: completion.text for key, completion in kept.items()} == {"a": "Answer to a.", "b": "Answer to b."}


def test_planned_requests_of_two_documents_with_the_same_key_are_one_call():
    first, second = wanted(["same", "same"])
    generator = FakeGenerator()
    buyer, ledger = purchaser(generator)
    buyer.buy([first, replace(second, document_id="another")])
    assert generator.request_count == 1
    assert len(ledger.entries) == 1


def test_a_failure_is_in_the_report_while_the_purchase_goes_on():
    seen: list[set[str]] = []

    def answer(request: CompletionRequest) -> Completion | str:
        seen.append(set(buyer.report.failures))
        return failing_on("a")(request)

    buyer, _ = purchaser(FakeGenerator(answer))
    buyer.buy(wanted("ab"))
    assert seen == [set(), {"a"}]


def test_whoever_buys_is_told_each_key_once_it_is_answered_or_has_failed(tmp_path):
    ledger = Ledger(Lake(f"sqlite:{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data"))
    told: list[str] = []

    def told_of(keys: Iterable[str]) -> None:
        new = [key for key in keys if key not in told]
        assert set(new) - {"b"} <= ledger.known_keys(new), "told before it was committed"
        told.extend(new)

    Purchaser(FakeGenerator, ledger, lambda: LedgerWriter(ledger)).buy(wanted("a"))
    buyer = Purchaser(lambda: FakeGenerator(failing_on("b")), ledger, lambda: LedgerWriter(ledger))
    buyer.buy(wanted("abc"), told_of)
    assert sorted(told) == ["a", "b", "c"]


def test_a_stopped_purchase_keeps_what_was_answered_and_the_next_one_asks_for_the_rest(tmp_path):
    ledger = Ledger(Lake(f"sqlite:{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data"))

    def answer(request: CompletionRequest) -> str:
        if request.request_key == "c":
            buyer.stop()
        return "An answer."

    stopped, later = FakeGenerator(answer), FakeGenerator()
    # Nothing is committed before the end: neither so many answers come nor so much time passes.
    buyer = Purchaser(lambda: stopped, ledger, lambda: LedgerWriter(ledger, batch_size=1000, batch_seconds=3600))
    with pytest.raises(PurchaseStoppedError, match="`synth run` asks only for the rest"):
        buyer.buy(wanted("abcdef"))
    assert asked(stopped) == ["a", "b", "c"]
    assert ledger.known_keys(list("abcdef")) == {"a", "b", "c"}

    Purchaser(lambda: later, ledger, lambda: LedgerWriter(ledger)).buy(wanted("abcdef"))
    assert asked(later) == ["d", "e", "f"]
