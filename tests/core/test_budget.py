"""A budget is never exceeded, whatever comes back, and what it did not pay for is bought later, once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.inference import Completion, CompletionRequest, SamplingParams
from resources.lake import Lake
from resources.ledger import Ledger
from resources.ledger_writer import LedgerWriter
from resources.testing import FakeGenerator
from synth_assets.core.budget import Account, Budget, typical_prices
from synth_assets.core.cost import estimate
from synth_assets.core.hardware import Hardware
from synth_assets.core.models import DENSE_8B, NEMOTRON_3_NANO
from synth_assets.core.purchasing import Purchaser
from synth_assets.core.request_planning import PlannedRequest
from synth_assets.core.token_prices import TokenPrices

PRICE = TokenPrices(0.01, 0.1)
PROMPT_TOKENS, MAX_TOKENS = 100, 50
MOST = PRICE.gpu_hours(PROMPT_TOKENS, MAX_TOKENS)


class SeveralInFlight(FakeGenerator):
    """Pulls so many requests before it answers, the last one first, as a server with a queue may."""

    def __init__(self, lengths: Sequence[int], in_flight: int = 4, failing: str = "") -> None:
        super().__init__()
        self._lengths, self._in_flight, self._failing = lengths, in_flight, failing

    def generate(self, requests: Iterable[CompletionRequest]) -> Iterator[Completion]:
        stream = iter(requests)
        while sent := list(islice(stream, self._in_flight)):
            self.requests += sent
            for request in reversed(sent):
                yield self._completion(request.request_key)

    def _completion(self, key: str) -> Completion:
        if key in self._failing:
            return Completion(key, error_kind="server_error", error="as told")
        tokens = self._lengths[int(key)]
        return Completion(key, "An answer.", "stop", PROMPT_TOKENS, tokens)


def wanted(count: int) -> list[PlannedRequest]:
    sampling = SamplingParams(0.5, 0.9, MAX_TOKENS)
    return [
        PlannedRequest(CompletionRequest(str(n), (), sampling), "distill", str(n), 0, PROMPT_TOKENS, 20)
        for n in range(count)
    ]


class MemoryWriter:
    """Commits at once into a dict, which is the ledger."""

    def __init__(self, kept: dict[str, Completion]) -> None:
        self.kept = kept
        self.on_committed = lambda keys: None

    def add(self, entry) -> None:
        assert entry.completion.request_key not in self.kept, "paid twice"
        self.kept[entry.completion.request_key] = entry.completion
        self.on_committed([entry.completion.request_key])

    def pending_keys(self) -> set[str]:
        return set()

    def known_keys(self, request_keys, since=None) -> set[str]:
        return set(request_keys) & self.kept.keys()

    def __enter__(self) -> MemoryWriter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


def purchaser(generator: FakeGenerator, kept: dict[str, Completion], budget: Budget) -> Purchaser:
    writer = MemoryWriter(kept)
    return Purchaser(lambda: generator, writer, lambda: writer, account=Account(budget, lambda: PRICE))  # pyright: ignore[reportArgumentType]


def paid(kept: dict[str, Completion]) -> float:
    return sum(PRICE.gpu_hours(answer.prompt_tokens, answer.completion_tokens) for answer in kept.values())


@given(
    lengths=st.lists(st.integers(0, MAX_TOKENS), max_size=30),
    limit=st.floats(0, 20 * MOST),
    in_flight=st.integers(1, 8),
)
def test_the_limit_holds_and_what_is_left_is_less_than_one_request_may_cost(lengths, limit, in_flight):
    kept: dict[str, Completion] = {}
    budget = Budget(max_gpu_hours=limit)
    buyer = purchaser(SeveralInFlight(lengths, in_flight), kept, budget)
    buyer.buy(wanted(len(lengths)))
    assert paid(kept) == pytest.approx(budget.spent_gpu_hours)
    assert budget.spent_gpu_hours <= limit
    assert budget.is_reached == (len(kept) < len(lengths))
    assert not budget.is_reached or limit - budget.spent_gpu_hours < MOST
    # MemoryWriter refuses an answer that was bought before.
    purchaser(SeveralInFlight(lengths, in_flight), kept, Budget()).buy(wanted(len(lengths)))
    assert len(kept) == len(lengths)


@given(lengths=st.lists(st.integers(0, MAX_TOKENS), min_size=1, max_size=20), limit=st.floats(0, 10 * MOST))
def test_two_purchasers_share_one_budget(lengths, limit):
    budget, kept, other_kept = Budget(max_gpu_hours=limit), {}, {}
    purchaser(SeveralInFlight(lengths), kept, budget).buy(wanted(len(lengths)))
    purchaser(SeveralInFlight(lengths), other_kept, budget).buy(wanted(len(lengths)))
    assert paid(kept) + paid(other_kept) <= limit * (1 + 1e-9)
    assert len(other_kept) == 0 or len(kept) == len(lengths)


@given(
    steps=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1)), max_size=40),
    limit=st.floats(0, 30),
    in_flight=st.integers(1, 6),
)
def test_what_is_spent_and_in_flight_never_exceeds_the_limit(steps, limit, in_flight):
    budget = Budget(max_gpu_hours=limit)
    flying: list[tuple[str, float, float]] = []
    for number, (most, share) in enumerate(steps):
        if len(flying) == in_flight:
            key, reserved, used = flying.pop(0)
            budget.settle(key, reserved * used)
        if budget.reserve(str(number), most):
            flying.append((str(number), most, share))
        assert budget.spent_gpu_hours + sum(reserved for _, reserved, _ in flying) <= limit + 1e-9


def test_a_shorter_answer_than_feared_leaves_room_for_more():
    kept: dict[str, Completion] = {}
    budget = Budget(max_gpu_hours=2 * MOST)
    purchaser(SeveralInFlight([0] * 20), kept, budget).buy(wanted(20))
    # 100 prompt tokens cost 1, at most 6 with the answer: 12 pay for 6 that are answered and one that may be long.
    assert len(kept) == 7
    assert budget.is_reached


def test_a_request_that_failed_while_the_server_worked_on_it_counts_as_the_most_it_may_have_cost():
    budget = Budget(max_gpu_hours=MOST)
    buyer = purchaser(SeveralInFlight([10, 10], failing="0"), {}, budget)
    buyer.buy(wanted(2))
    assert buyer.report.failures.keys() == {"0"}
    assert budget.spent_gpu_hours == pytest.approx(MOST)


def test_an_interrupted_purchase_leaves_nothing_set_aside():
    budget = Budget(max_gpu_hours=2 * MOST)

    def interrupt(request: CompletionRequest) -> Completion:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        purchaser(FakeGenerator(interrupt), {}, budget).buy(wanted(2))
    assert budget.reserve("another", 2 * MOST)


def test_without_a_limit_no_price_is_asked_for(tmp_path):
    def no_price() -> TokenPrices:
        raise AssertionError("a price was asked for")

    ledger = Ledger(Lake(f"sqlite:{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data"))
    generator = SeveralInFlight([1] * 5)
    Purchaser(lambda: generator, ledger, lambda: LedgerWriter(ledger), account=Account(Budget(), no_price)).buy(
        wanted(5)
    )
    assert len(ledger.known_keys([str(n) for n in range(5)])) == 5


def test_dollars_are_gpu_hours_at_the_price_and_the_tighter_limit_holds():
    assert Budget(max_usd=6.0, usd_per_gpu_hour=3.0).limit_gpu_hours == 2.0
    assert Budget(max_usd=6.0, max_gpu_hours=1.5, usd_per_gpu_hour=3.0).limit_gpu_hours == 1.5
    assert Budget(max_usd=6.0, usd_per_gpu_hour=0.0).limit_gpu_hours == float("inf")
    assert Budget(2.0, 3.0, 1.0).limits == "2 USD and 3 GPU-hours"


@pytest.mark.parametrize("arch", [DENSE_8B, NEMOTRON_3_NANO])
@pytest.mark.parametrize("reached", [1.0, 0.6])
def test_prices_add_up_to_what_the_plan_says_of_many_requests(arch, reached):
    hardware = Hardware.parse("4xH100-SXM")
    planned = estimate(arch, hardware, 1000, 700_000, 320_000, 64, reached)
    assert typical_prices(arch, hardware, 64, reached).gpu_hours(700_000, 320_000) == pytest.approx(planned.gpu_hours)
    longer = estimate(arch, hardware, 1000, 1_200_000, 200_000, 64, reached)
    assert typical_prices(arch, hardware, 64, reached).gpu_hours(1_200_000, 200_000) == pytest.approx(
        longer.gpu_hours, rel=0.15
    )


def test_a_limit_that_never_fills_the_gpus_has_the_price_of_so_few_requests():
    hardware = Hardware.parse("4xH100-SXM")
    few = estimate(NEMOTRON_3_NANO, hardware, 10, 7000, 3200, 64).gpu_hours
    prices = typical_prices(NEMOTRON_3_NANO, hardware, 64, limit_gpu_hours=1.001 * few)
    assert prices.gpu_hours(7000, 3200) == pytest.approx(few, rel=0.01)
    assert typical_prices(NEMOTRON_3_NANO, hardware, 64, limit_gpu_hours=100.0) == typical_prices(
        NEMOTRON_3_NANO, hardware, 64
    )


def test_answers_of_a_server_that_reports_no_tokens_use_the_budget_up():
    class Silent(FakeGenerator):
        def generate(self, requests: Iterable[CompletionRequest]) -> Iterator[Completion]:
            yield from (Completion(request.request_key, "An answer.", "stop") for request in requests)

    budget, kept = Budget(max_gpu_hours=3.5 * MOST), {}
    purchaser(Silent(), kept, budget).buy(wanted(10))
    assert len(kept) == 3
    assert budget.is_reached


def test_a_budget_that_pays_for_no_answer_says_what_the_next_one_may_take_and_not_to_try_again():
    budget = Budget(max_usd=1.0, usd_per_gpu_hour=2.0)
    assert not budget.reserve("dear", 0.75)
    assert (
        budget.end == "the budget of 1 USD pays for no answer: by itself the next one may take 1.5 USD (0.75 GPU-hours)"
    )
    assert "again" not in budget.remedy


def test_a_budget_that_has_paid_for_answers_is_spent_and_can_be_given_again():
    budget = Budget(max_gpu_hours=1.0)
    assert budget.reserve("first", 0.75)
    budget.settle("first", 0.75)
    assert not budget.reserve("second", 0.75)
    assert budget.end == "the budget of 1 GPU-hours is spent"
    assert "run again" in budget.remedy
