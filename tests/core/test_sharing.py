"""Several purchasers over one ledger: whatever the order of events, one of them asks and the others wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.claims import FileClaims
from resources.inference import Completion, CompletionRequest, LedgerEntry
from resources.ledger_writer import LedgerWriter
from resources.testing import FakeGenerator, fake_completion
from synth_assets.core import missing_requests, purchasing
from synth_assets.core.purchasing import Purchaser, PurchaseReport
from synth_assets.core.request_planning import PlannedRequest
from synth_assets.strategies import discover

DISTILL = next(strategy for strategy in discover() if strategy.name == "distill")


class MemoryLedger:
    """Entries in a dict, for any number of threads; refuses a second answer to one key."""

    def __init__(self) -> None:
        self.entries: dict[str, LedgerEntry] = {}
        self._lock = threading.Lock()

    def known_keys(self, request_keys: Sequence[str], since: datetime | None = None) -> set[str]:
        with self._lock:
            return set(request_keys) & self.entries.keys()

    def fetch(self, request_keys: Sequence[str]) -> dict[str, Completion]:
        raise AssertionError("buying reads no answer")

    def record(self, entries: Sequence[LedgerEntry]) -> None:
        with self._lock:
            for entry in entries:
                assert entry.completion.request_key not in self.entries, "paid twice"
                self.entries[entry.completion.request_key] = entry

    def compact_if_needed(self) -> bool:
        return False

    def clean_up(self) -> None:
        pass


def wanted(names: Iterable[str]) -> Iterator[PlannedRequest]:
    for index, name in enumerate(names):
        request = CompletionRequest(name, DISTILL.messages("Title", f"Text of {name}."), DISTILL.sampling)
        yield PlannedRequest(request, "distill", f"document-{name}", index, 100, 50)


class Market:
    """One ledger and one claims file, and any number of purchasers on them."""

    def __init__(self, folder: Path) -> None:
        self.ledger = MemoryLedger()
        self._file = folder / "claims"

    def claims(self) -> FileClaims:
        return FileClaims(self._file)

    def purchaser(
        self,
        generator: FakeGenerator,
        batch_size: int = 3,
        on_progress: Callable[[PurchaseReport], None] | None = None,
        ledger: MemoryLedger | None = None,
    ) -> Purchaser:
        found = ledger or self.ledger
        return Purchaser(
            lambda: generator, found, lambda: LedgerWriter(found, batch_size, 0.01), on_progress, self.claims
        )

    def answer_for_another_run(self, key: str) -> None:
        request = next(wanted([key])).request
        entry = LedgerEntry(fake_completion(request), "distill", "document", 0, FakeGenerator().model)
        self.ledger.record([entry])


@pytest.fixture
def market(tmp_path: Path) -> Market:
    return Market(tmp_path)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purchasing, "SECONDS_BETWEEN_LOOKS", 0.001)


def asked(generator: FakeGenerator) -> list[str]:
    return [request.request_key for request in generator.requests]


KEYS = [f"key-{number}" for number in range(30)]


@given(
    streams=st.lists(st.lists(st.sampled_from(KEYS), max_size=60), min_size=2, max_size=3),
    batch_size=st.integers(1, 7),
    lookup=st.integers(1, 9),
    together=st.integers(1, 5),
    most_aside=st.integers(1, 9),
)
def test_of_runs_at_once_each_key_is_asked_exactly_once(
    tmp_path_factory, streams, batch_size, lookup, together, most_aside
):
    market = Market(tmp_path_factory.mktemp("market"))
    generator = FakeGenerator()
    start = threading.Barrier(len(streams))
    errors: list[BaseException] = []
    reports: list[PurchaseReport] = []

    def run(names: list[str]) -> None:
        start.wait()
        try:
            reports.append(market.purchaser(generator, batch_size).buy(wanted(names)))
        except BaseException as error:
            errors.append(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(missing_requests, "FIRST_LOOKUP", lookup)
        patch.setattr(missing_requests, "LATER_LOOKUPS", lookup)
        patch.setattr(missing_requests, "CLAIMED_TOGETHER", together)
        patch.setattr(missing_requests, "MOST_PUT_ASIDE", most_aside)
        threads = [threading.Thread(target=run, args=(names,)) for names in streams]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    distinct = {name for names in streams for name in names}
    assert sorted(asked(generator)) == sorted(distinct)
    assert market.ledger.entries.keys() == distinct
    assert sum(report.requests_sent for report in reports) == len(distinct)
    assert all(report.awaited_from_other_runs == 0 for report in reports)


def test_what_another_run_commits_between_look_up_and_claim_is_not_asked_again(market):
    class SlowLookup(MemoryLedger):
        """The other run does all its work right after the first look-up here."""

        def known_keys(self, request_keys: Sequence[str], since: datetime | None = None) -> set[str]:
            found = market.ledger.known_keys(request_keys)
            if since is None:
                market.purchaser(FakeGenerator()).buy(wanted("abc"))
            return found

    generator = FakeGenerator()
    report = market.purchaser(generator, ledger=SlowLookup()).buy(wanted("abc"))
    assert asked(generator) == []
    assert (report.requests_sent, report.answered_from_ledger) == (0, 3)


def test_while_answers_are_missing_each_key_is_looked_up_once(market):
    looked_up: list[str] = []

    class Watched(MemoryLedger):
        def known_keys(self, request_keys: Sequence[str], since: datetime | None = None) -> set[str]:
            looked_up.extend(request_keys)
            return super().known_keys(request_keys, since)

    names = [str(number) for number in range(300)]
    market.purchaser(FakeGenerator(), ledger=Watched()).buy(wanted(names))
    later = [name for name in looked_up if int(name) >= missing_requests.FIRST_LOOKUP]
    assert later == names[missing_requests.FIRST_LOOKUP :]


def test_what_another_run_commits_before_its_key_is_claimed_here_is_found_and_free_again(market):
    names = [str(number) for number in range(200)]
    late = names[missing_requests.FIRST_LOOKUP + 10]

    def answer(request: CompletionRequest) -> Completion:
        if request.request_key == "0":
            market.answer_for_another_run(late)
        return fake_completion(request)

    generator = FakeGenerator(answer)
    report = market.purchaser(generator, ledger=market.ledger).buy(wanted(names))
    assert late not in asked(generator)
    assert (report.requests_sent, report.answered_from_ledger) == (199, 1)
    assert market.claims().claim(names) == set(names)


def test_the_answer_of_another_run_is_awaited_and_counts_as_from_the_ledger(market):
    other = market.claims()
    other.claim(["b"])
    awaited: list[int] = []

    def answer_when_awaited(report: PurchaseReport) -> None:
        awaited.append(report.awaited_from_other_runs)
        if report.requests_sent == 2 and "b" not in market.ledger.entries:
            market.answer_for_another_run("b")
            other.release(["b"])

    generator = FakeGenerator()
    report = market.purchaser(generator, on_progress=answer_when_awaited).buy(wanted("abc"))
    assert asked(generator) == ["a", "c"]
    assert report.answered_from_ledger == 1
    assert max(awaited) == 1
    assert awaited[-1] == 0


def test_what_another_run_failed_to_get_is_asked_here(market):
    other = market.claims()
    other.claim(["b"])

    def fail_when_awaited(report: PurchaseReport) -> None:
        if report.requests_sent == 2:
            other.release(["b"])

    generator = FakeGenerator()
    market.purchaser(generator, on_progress=fail_when_awaited).buy(wanted("abc"))
    assert asked(generator) == ["a", "c", "b"]


def test_a_failed_request_is_free_for_others_at_once_and_an_answered_one_when_it_is_committed(market):
    other = market.claims()
    free: dict[str, set[str]] = {}

    class Watched(MemoryLedger):
        def record(self, entries: Sequence[LedgerEntry]) -> None:
            free["before the commit"] = other.claim(["a"])
            super().record(entries)

    def answer(request: CompletionRequest) -> Completion:
        if request.request_key == "b":
            return Completion("b", error_kind="server_error", error="as told")
        if request.request_key == "c":
            free["after the failure"] = other.claim(["b"])
        return fake_completion(request)

    buyer = market.purchaser(FakeGenerator(answer), batch_size=100, ledger=Watched())
    assert set(buyer.buy(wanted("abc")).failures) == {"b"}
    assert free == {"before the commit": set(), "after the failure": {"b"}}
    assert other.claim(["a", "c"]) == {"a", "c"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_after_an_interruption_nothing_stays_claimed(market, error):
    def answer(request: CompletionRequest) -> str:
        if request.request_key == "c":
            raise error
        return "An answer."

    with pytest.raises(error):
        market.purchaser(FakeGenerator(answer)).buy(wanted("abcdef"))
    assert market.claims().claim("abcdef") == set("abcdef")


def test_while_too_much_is_awaited_the_stream_is_not_pulled_and_ctrl_c_ends_the_wait(market, monkeypatch):
    names = [str(number) for number in range(1000)]
    market.claims().claim(names)
    pulled: list[str] = []

    def stream() -> Iterator[str]:
        for name in names:
            pulled.append(name)
            yield name

    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    monkeypatch.setattr(missing_requests, "CLAIMED_TOGETHER", 10)
    monkeypatch.setattr(missing_requests, "MOST_PUT_ASIDE", 300)
    buyer = market.purchaser(FakeGenerator())
    monkeypatch.setattr(buyer, "_stopping", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        buyer.buy(wanted(stream()))
    assert len(pulled) == 304
