"""A limit on what a run spends: a request is sent only where the limit holds however long its answer becomes.

In: prices that hold for a whole run, and an account of what is spent and what is in flight. Out: sending
(`purchasing`), and the bill that the prices are taken from (`cost`).

The unit is the GPU-hour; dollars are GPU-hours at the hardware's price, so one number holds both limits.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import cached_property

from resources.inference import Completion
from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.cost import DEFAULT_CONCURRENCY
from synth_assets.core.hardware import Hardware
from synth_assets.core.request_planning import PlannedRequest
from synth_assets.core.token_prices import WORKED_ON, TokenPrices, prices_in_flight

TYPICAL_PROMPT_TOKENS, TYPICAL_COMPLETION_TOKENS = 700, 320
"""Lengths that a token's price holds for: means of the sample corpus in all strategies. Longer contexts cost more a
token, which a price that is linear in the tokens leaves out: 10% for a dense 8B model at four times the length."""


def typical_prices(
    arch: ModelArchitecture,
    hardware: Hardware,
    concurrency: float = DEFAULT_CONCURRENCY,
    reached: float = 1.0,
    limit_gpu_hours: float = math.inf,
) -> TokenPrices:
    """Prices of the throughput at typical lengths, as `estimate` has them for as many requests as the limit pays for.

    A limit that pays for fewer requests than may be in flight never fills the GPUs: each token is dearer then.
    `reached` is the throughput as a multiple of the roofline's. Raises SettingError as `estimate` does.
    """
    in_flight = max(int(concurrency), 1)
    while True:
        prices = prices_in_flight(arch, hardware, in_flight, TYPICAL_PROMPT_TOKENS, TYPICAL_COMPLETION_TOKENS, reached)
        paid_for = limit_gpu_hours / prices.gpu_hours(TYPICAL_PROMPT_TOKENS, TYPICAL_COMPLETION_TOKENS)
        if in_flight == 1 or paid_for >= in_flight:
            return prices
        in_flight = max(int(paid_for), 1)


class Budget:
    """What may be spent in one pass, by all its purchasers together; safe in threads.

    Reached once a request has no room while nothing is in flight. From then on there is no room for any. Of prompts the
    estimate counts beforehand: exact with the model's own tokenizer, which an approximate one may exceed.
    """

    def __init__(
        self, max_usd: float | None = None, max_gpu_hours: float | None = None, usd_per_gpu_hour: float = 0.0
    ) -> None:
        self.max_usd = max_usd
        self.max_gpu_hours = max_gpu_hours
        self.usd_per_gpu_hour = usd_per_gpu_hour
        self.spent_gpu_hours = 0.0
        """Of answers that have come, by their actual tokens."""
        self.is_reached = False
        self._refused_gpu_hours = 0.0
        self._in_flight: dict[str, float] = {}
        self._in_flight_gpu_hours = 0.0
        self._lock = threading.Lock()

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self.max_usd is not None or self.max_gpu_hours is not None

    @property
    def limit_gpu_hours(self) -> float:
        """The tighter of the two limits; infinite where there is none, or where a GPU-hour costs nothing."""
        by_usd = math.inf
        if self.max_usd is not None and self.usd_per_gpu_hour:
            by_usd = self.max_usd / self.usd_per_gpu_hour
        return min(by_usd, math.inf if self.max_gpu_hours is None else self.max_gpu_hours)

    @property
    def spent_usd(self) -> float:
        """What was spent, in dollars."""
        return self.spent_gpu_hours * self.usd_per_gpu_hour

    @property
    def limits(self) -> str:
        """The limits in words."""
        words = [
            *([] if self.max_usd is None else [f"{self.max_usd:g} USD"]),
            *([] if self.max_gpu_hours is None else [f"{self.max_gpu_hours:g} GPU-hours"]),
        ]
        return " and ".join(words)

    @property
    def end(self) -> str:
        """Why no more is bought, once it is reached; in words that go on a sentence."""
        if self.spent_gpu_hours:
            return f"the budget of {self.limits} is spent"
        most = f"{self._refused_gpu_hours:.2g} GPU-hours"
        if self.usd_per_gpu_hour:
            most = f"{self._refused_gpu_hours * self.usd_per_gpu_hour:.2g} USD ({most})"
        return f"the budget of {self.limits} pays for no answer: by itself the next one may take {most}"

    @property
    def remedy(self) -> str:
        """What to do about its end; the same budget buys nothing again where it has bought nothing."""
        if self.spent_gpu_hours:
            return "Raise the budget, or run again to go on with another of the same size."
        return "Raise the budget; many answers at once share the GPUs, and each costs less."

    def reserve(self, request_key: str, most_gpu_hours: float) -> bool:
        """Set aside the most that a request may cost; False where that would exceed the limit."""
        with self._lock:
            if self.is_reached:
                return False
            if self.spent_gpu_hours + self._in_flight_gpu_hours + most_gpu_hours > self.limit_gpu_hours:
                self.is_reached = not self._in_flight
                self._refused_gpu_hours = most_gpu_hours
                return False
            self._in_flight[request_key] = most_gpu_hours
            self._in_flight_gpu_hours += most_gpu_hours
            return True

    def settle(self, request_key: str, gpu_hours: float) -> None:
        """A request has come to an end that cost so much; what was set aside for it is free."""
        with self._lock:
            reserved = self._in_flight.pop(request_key, 0.0)
            # With nothing in flight exactly 0, however the sums were rounded.
            self._in_flight_gpu_hours = self._in_flight_gpu_hours - reserved if self._in_flight else 0.0
            self.spent_gpu_hours += gpu_hours


class Account:
    """One purchaser's access to the budget, at the prices of its model; leaving the context frees what is in flight."""

    def __init__(self, budget: Budget, find_prices: Callable[[], TokenPrices]) -> None:
        self.budget = budget
        self._find_prices = find_prices
        self._in_flight: set[str] = set()

    @classmethod
    def unlimited(cls) -> Account:
        """Of whoever may spend what it takes."""
        return cls(Budget(), lambda: TokenPrices(0.0, 0.0))

    def __enter__(self) -> Account:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for request_key in self._in_flight:
            self.budget.settle(request_key, 0.0)
        self._in_flight.clear()

    @cached_property
    def prices(self) -> TokenPrices:
        """Looked up when the first request is to be sent: before, the model may not be known."""
        return self._find_prices()

    def has_room(self, planned: PlannedRequest) -> bool:
        """Set aside the most that the request may cost: its prompt, and `max_tokens`."""
        if not self.budget.is_limited:
            return True
        request_key = planned.request.request_key
        has_room = self.budget.reserve(request_key, self._most(planned))
        if has_room:
            self._in_flight.add(request_key)
        return has_room

    def _most(self, planned: PlannedRequest) -> float:
        return self.prices.gpu_hours(planned.estimated_prompt_tokens, planned.request.sampling.max_tokens)

    def settle(self, planned: PlannedRequest, completion: Completion) -> None:
        """Book what the request has cost, or the most that it may have where the server does not say.

        It does not say of a request that failed while it worked on it, nor of any where it reports no usage.
        """
        if not self.budget.is_limited:
            return
        is_unreported = completion.error_kind is None and not (completion.prompt_tokens or completion.completion_tokens)
        if completion.error_kind in WORKED_ON or is_unreported:
            spent = self._most(planned)
        else:
            spent = self.prices.gpu_hours(completion.prompt_tokens, completion.completion_tokens)
        self._in_flight.discard(completion.request_key)
        self.budget.settle(completion.request_key, spent)
