"""Buying on a thread of its own: what is waited for and for how long, what is begun, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from resources.errors import SynthError
from resources.inference import Completion, CompletionRequest
from resources.lake import Lake
from resources.ledger import Ledger
from resources.ledger_writer import LedgerWriter
from resources.testing import FakeGenerator
from synth_assets.core.buying_ahead import BuyingAhead
from synth_assets.core.purchasing import Purchaser, PurchaseReport, PurchaseStoppedError
from synth_assets.core.request_planning import PlannedRequest
from synth_assets.strategies import discover

DISTILL = next(strategy for strategy in discover() if strategy.name == "distill")
PATIENCE_SECONDS = 20
"""Longer than any of these takes on a busy machine; what never ends fails by it."""


class Model:
    """Answers each request at once, but for those that are held until `let_go`, those that fail, and the last straw."""

    def __init__(self, held: str = "", failing: str = "", breaking: str = "") -> None:
        self.generator = FakeGenerator(self._answer)
        self.reached = {key: threading.Event() for key in held}
        self._held = {key: threading.Event() for key in held}
        self._failing, self._breaking = failing, breaking

    @property
    def asked(self) -> list[str]:
        return [request.request_key for request in self.generator.requests]

    def let_go(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._held[key].set()

    def _answer(self, request: CompletionRequest) -> Completion | str:
        key = request.request_key
        if key in self._held:
            self.reached[key].set()
            assert self._held[key].wait(PATIENCE_SECONDS)
        if key in self._breaking:
            raise SynthError(f"The model broke at {key}.")
        if key in self._failing:
            return Completion(key, error_kind="server_error", error="as told")
        return f"Answer to {key}."


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    return Ledger(Lake(f"sqlite:{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data"))


def purchaser_of(model: Model, ledger: Ledger) -> Purchaser:
    return Purchaser(lambda: model.generator, ledger, lambda: LedgerWriter(ledger, batch_size=1))


def documents(*keys: str) -> Iterator[list[PlannedRequest]]:
    """One document for each string, with a request for each of its characters."""
    for document in keys:
        requests = [CompletionRequest(key, DISTILL.messages("", key), DISTILL.sampling) for key in document]
        yield [PlannedRequest(one, "distill", document, place, 100, 50) for place, one in enumerate(requests)]


@pytest.fixture
def in_background() -> Iterator[Callable[..., Future[Any]]]:
    with ThreadPoolExecutor() as pool:
        yield pool.submit


def test_what_is_answered_is_there_while_what_comes_later_is_held_back(ledger):
    model = Model(held="c")
    ahead = BuyingAhead(purchaser_of(model, ledger))
    ahead.begin({"first": documents("a", "b"), "second": documents("c")})
    assert ahead.wait("first", 2, ["a", "b"]) is not None
    assert set(ledger.fetch(["a", "b", "c"])) == {"a", "b"}
    model.let_go("c")
    ahead.finish()
    assert set(ledger.fetch(["a", "b", "c"])) == {"a", "b", "c"}


def test_whoever_waits_goes_on_when_the_last_of_its_answers_is_committed(ledger, in_background):
    model = Model(held="b")
    ahead = BuyingAhead(purchaser_of(model, ledger))
    ahead.begin({"only": documents("a", "b")})
    waiting = in_background(ahead.wait, "only", 2, ["a", "b"])
    assert model.reached["b"].wait(PATIENCE_SECONDS)
    assert not waiting.done()
    model.let_go("b")
    assert waiting.result(PATIENCE_SECONDS) is not None
    assert set(ledger.fetch(["a", "b"])) == {"a", "b"}
    ahead.finish()


def test_a_failed_request_ends_the_wait_and_the_purchase_goes_on(ledger):
    ahead = BuyingAhead(purchaser_of(Model(failing="a"), ledger))
    ahead.begin({"only": documents("a", "b")})
    ahead.wait("only", 2, ["a", "b"])
    ahead.finish()
    assert set(ledger.fetch(["a", "b"])) == {"b"}


def test_documents_without_a_request_count_as_planned(ledger):
    ahead = BuyingAhead(purchaser_of(Model(), ledger))
    ahead.begin({"only": documents("", "a", "")})
    assert ahead.wait("only", 3, ["a"]) is not None
    ahead.finish()


def test_answers_of_documents_in_another_order_are_found_by_waiting_for_any_of_them(ledger):
    ahead = BuyingAhead(purchaser_of(Model(), ledger))
    ahead.begin({"only": documents(*"abcd")})
    ahead.wait("only", 1, ["d"])
    assert ahead.wait("only", None, ["d"]) is not None
    assert set(ledger.fetch(["d"])) == {"d"}
    ahead.finish()


def test_a_part_is_bought_for_once(ledger):
    model = Model(failing="a")
    ahead = BuyingAhead(purchaser_of(model, ledger))
    pulled: list[str] = []

    def counted() -> Iterator[list[PlannedRequest]]:
        pulled.append("pulled")
        yield from documents("a", "b")

    for _ in range(2):
        ahead.begin({"only": counted()})
        ahead.finish()
    assert pulled == ["pulled"]
    assert model.asked == ["a", "b"]


def test_a_part_that_nobody_bought_for_is_not_waited_for(ledger):
    model = Model(held="a")
    ahead = BuyingAhead(purchaser_of(model, ledger))
    ahead.begin({"one": documents("a")})
    assert ahead.wait("another", 1, ["x"]) is None
    model.let_go("a")
    ahead.finish()


def test_a_part_that_was_bought_for_before_is_not_held_up_by_the_next_purchase(ledger):
    model = Model(held="b")
    ahead = BuyingAhead(purchaser_of(model, ledger))
    ahead.begin({"first": documents("a")})
    ahead.finish()
    ahead.begin({"second": documents("b")})
    assert model.reached["b"].wait(PATIENCE_SECONDS)
    assert ahead.wait("first", 1, ["a"]) is not None
    model.let_go("b")
    ahead.finish()


def test_what_was_settled_before_the_purchase_broke_off_is_used_and_the_rest_raises(ledger):
    ahead = BuyingAhead(purchaser_of(Model(breaking="c"), ledger))
    ahead.begin({"only": documents("a", "b", "c", "d")})
    with pytest.raises(SynthError, match="The model broke at c"):
        ahead.wait("only", 4, ["c", "d"])
    with pytest.raises(SynthError, match="The model broke at c"):
        ahead.check()
    assert ahead.wait("only", 2, ["a", "b"]) is not None
    with pytest.raises(SynthError, match="The model broke at c"):
        ahead.finish()


def test_what_broke_off_can_be_begun_again_and_asks_only_for_the_rest(ledger):
    model = Model(breaking="b")
    buyer = purchaser_of(model, ledger)
    ahead = BuyingAhead(buyer)
    ahead.begin({"only": documents("a", "b", "c")})
    with pytest.raises(SynthError):
        ahead.wait("only", 3, ["a", "b", "c"])
    for _ in range(2):
        # Nobody has ended the pass yet.
        with pytest.raises(SynthError):
            ahead.begin({"only": documents("a", "b", "c")})
    with pytest.raises(SynthError):
        ahead.finish()

    model._breaking = ""
    ahead.begin({"only": documents("a", "b", "c")})
    ahead.wait("only", 3, ["a", "b", "c"])
    ahead.finish()
    assert model.asked == ["a", "b", "b", "c"]
    assert set(ledger.fetch(["a", "b", "c"])) == {"a", "b", "c"}


def test_stopping_keeps_what_is_answered_and_asks_for_nothing_more(ledger, in_background):
    model = Model(held="b")
    ahead = BuyingAhead(purchaser_of(model, ledger))
    ahead.begin({"only": documents("a", "b", "c", "d")})
    assert model.reached["b"].wait(PATIENCE_SECONDS)
    waiting = in_background(ahead.wait, "only", 4, ["a", "b", "c", "d"])
    stopping = in_background(ahead.stop)
    while not ahead._is_stopping:
        assert not stopping.done()
    model.let_go("b")
    stopping.result(PATIENCE_SECONDS)
    assert isinstance(waiting.exception(PATIENCE_SECONDS), PurchaseStoppedError | None)
    assert "d" not in model.asked
    assert set(ledger.fetch(["a", "b", "c", "d"])) >= {"a", "b"}
    assert ahead.wait("only", 4, ["a"]) is None
    assert "buying-ahead" not in {thread.name for thread in threading.enumerate()}


def test_stopping_before_the_purchase_has_started_stops_it(ledger, in_background):
    may_start = threading.Event()

    class Late(Purchaser):
        def buy(
            self, wanted: Iterable[PlannedRequest], on_settled: Callable[[Collection[str]], None] = lambda keys: None
        ) -> PurchaseReport:
            assert may_start.wait(PATIENCE_SECONDS)
            return super().buy(wanted, on_settled)

    model = Model()
    ahead = BuyingAhead(Late(lambda: model.generator, ledger, lambda: LedgerWriter(ledger)))
    ahead.begin({"only": documents("a", "b")})
    stopping = in_background(ahead.stop)
    while not ahead._purchaser._stopping.is_set():
        assert not stopping.done()
    may_start.set()
    stopping.result(PATIENCE_SECONDS)
    assert model.asked == []


def test_nothing_to_stop_is_no_error(ledger):
    ahead = BuyingAhead(purchaser_of(Model(), ledger))
    ahead.stop()
    ahead.begin({"only": documents("a")})
    ahead.finish()
    ahead.stop()
    assert set(ledger.fetch(["a"])) == {"a"}
