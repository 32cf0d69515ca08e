"""What a purchase tells whoever measures it: each outcome once, and the end, however it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resources.inference import Completion, CompletionRequest, FailedRequest, SamplingParams, ServedModel
from resources.lake import Lake
from resources.ledger import Ledger
from resources.ledger_writer import LedgerWriter
from resources.testing import FAKE_MODEL, FakeGenerator
from synth_assets.core.purchasing import Purchaser
from synth_assets.core.request_planning import PlannedRequest


class Notes:
    """A `PurchaseMeter` that notes down what it is told."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.begun: list[ServedModel] = []
        self.answered_keys: list[str] = []
        self.failures: list[FailedRequest] = []
        self.committed_at_the_end: set[str] | None = None

    def begin(self, model: ServedModel) -> None:
        self.begun.append(model)

    def answered(self, completion: Completion) -> None:
        self.answered_keys.append(completion.request_key)

    def failed(self, request: FailedRequest) -> None:
        self.failures.append(request)

    def __enter__(self) -> Notes:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.committed_at_the_end = self._ledger.known_keys(self.answered_keys)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    lake = Lake(f"sqlite:{tmp_path}/catalog.sqlite", str(tmp_path / "data"))
    yield Ledger(lake)
    lake.close()


def buy(ledger: Ledger, names: str, answer: Callable[[CompletionRequest], Completion | str] | None = None) -> Notes:
    notes = Notes(ledger)
    generator = FakeGenerator(answer or (lambda request: "An answer."))
    buyer = Purchaser(lambda: generator, ledger, lambda: LedgerWriter(ledger), open_meter=lambda: notes)
    requests = (
        PlannedRequest(CompletionRequest(name, (), SamplingParams(0, 1, 9)), "distill", f"d-{name}", place, 100, 50)
        for place, name in enumerate(names)
    )
    try:
        buyer.buy(requests)
    except KeyboardInterrupt:
        return notes
    return notes


def fail_on_b(request: CompletionRequest) -> Completion | str:
    kind = "timeout" if request.request_key == "b" else None
    return Completion(request.request_key, error_kind=kind, error="as told") if kind else "An answer."


def test_each_outcome_is_told_once_and_the_end_comes_after_the_last_commit(ledger: Ledger) -> None:
    notes = buy(ledger, "abc", fail_on_b)
    assert notes.begun == [FAKE_MODEL]
    assert notes.answered_keys == ["a", "c"]
    assert notes.committed_at_the_end == {"a", "c"}
    (failure,) = notes.failures
    assert (failure.completion.error_kind, failure.strategy, failure.document_id) == ("timeout", "distill", "d-b")
    assert (failure.segment_index, failure.model, failure.estimated_prompt_tokens) == (1, FAKE_MODEL, 100)


def test_what_the_ledger_has_is_no_purchase(ledger: Ledger) -> None:
    buy(ledger, "abc")
    notes = buy(ledger, "abc")
    assert (notes.begun, notes.answered_keys, notes.failures) == ([], [], [])


def test_the_end_is_told_of_a_purchase_that_breaks_off(ledger: Ledger) -> None:
    def interrupt(request: CompletionRequest) -> Completion | str:
        if request.request_key == "b":
            raise KeyboardInterrupt
        return "An answer."

    notes = buy(ledger, "abc", interrupt)
    assert notes.committed_at_the_end == {"a"}
