"""Lanes: coroutines that each take the next request, wait for its answer, and take the next, until none is left.

In: the feed between the caller's thread and the event loop, the lane's loop with its retries, the circuit that gives
a dead server up for all lanes at once. Out: what one call is (`resources.model_call`), and who runs the lanes
(`resources.data_designer_generator`).
"""

from __future__ import annotations

import asyncio
import queue
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

import tenacity

from resources.inference import Completion, CompletionRequest, ErrorKind
from resources.model_call import FINAL_KINDS, HOPELESS_KINDS, CallError, RetryPolicy, complete

HAND_OVER_SECONDS = 0.005
"""How long an answer waits for others to come with; a thousandth of what it has taken."""


class Stop:
    """Among the results: nobody wants the ones after it."""


class Circuit:
    """One server as all its lanes see it: open (given up) after `give_up_after_seconds` of nothing but failures, and
    at once after a failure that every request would share. Used on the event loop only.
    """

    def __init__(self, base_url: str, policy: RetryPolicy) -> None:
        self.base_url = base_url
        self.is_open = False
        self.kind: ErrorKind = "unreachable"
        self._policy = policy
        self._reason = ""
        self._failing_since: float | None = None
        self._last_failure = 0.0
        self._waiting: set[asyncio.Timeout] = set()

    def record_contact(self) -> None:
        """The server answered, be it to refuse one request: it is alive."""
        self._failing_since = None

    def record_failure(self, error: CallError) -> None:
        """The server failed; opens the circuit when that has gone on, or is to go on, for long enough."""
        now = time.monotonic()
        # A failure long ago says nothing about the time since, in which nothing was sent.
        patience = self._policy.request_timeout_seconds + self._policy.longest_wait_seconds
        if self._failing_since is None or now - self._last_failure > patience:
            self._failing_since = now
        self._last_failure = now
        self.kind = "unreachable" if error.kind == "server_error" else error.kind
        lasts_seconds = max(now - self._failing_since, error.retry_after_seconds)
        if error.kind in HOPELESS_KINDS or lasts_seconds >= self._policy.give_up_after_seconds:
            self.is_open = True
            self._reason = self._why(error)
            self.interrupt()

    def interrupt(self) -> None:
        """End every wait for this server now: in flight, throttled or between two attempts."""
        for scope in self._waiting:
            if scope.when() is None:
                scope.reschedule(asyncio.get_running_loop().time())

    def failed(self, request: CompletionRequest) -> Completion:
        """The completion of a request that is not sent (again) because the server is given up."""
        return Completion(request.request_key, error_kind=self.kind, error=self._reason)

    def _why(self, error: CallError) -> str:
        if error.kind in HOPELESS_KINDS:
            return f"{self.base_url} refuses every request: {error}"
        patience = f"{self._policy.give_up_after_seconds:g} s"
        has_long_pause = error.retry_after_seconds >= self._policy.give_up_after_seconds
        what = (
            f"asks to wait for more than {patience}" if has_long_pause else f"gave nothing but failures for {patience}"
        )
        return (
            f"The server at {self.base_url} {what}, so it was given up. Start it again, or correct VLLM_BASE_URL "
            f"(JUDGE_BASE_URL). The last failure: {error}"
        )

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Around a wait for this server; `interrupt` ends it with TimeoutError."""
        async with asyncio.timeout(None) as scope:
            self._waiting.add(scope)
            try:
                yield
            finally:
                self._waiting.discard(scope)


class Lanes:
    """The shared feed and the lanes on it. `offer`, `finish`, `cancel` and `results` are for the caller's thread."""

    def __init__(self, circuits: list[Circuit], policy: RetryPolicy, lane_count: int) -> None:
        self.results: queue.SimpleQueue[list[Completion] | BaseException | Stop] = queue.SimpleQueue()
        self.started: Future[asyncio.AbstractEventLoop] = Future()
        """Done when the first lane runs; whoever runs the lanes sets the exception when they cannot start."""
        self._circuits = circuits
        self._policy = policy
        self._lane_count = lane_count
        self._feed: asyncio.Queue[CompletionRequest | None] = asyncio.Queue()
        self._answered: list[Completion] = []
        self._is_cancelled = False

    def offer(self, requests: Sequence[CompletionRequest]) -> None:
        """Put requests on the feed."""
        self._on_loop(self._put, requests)

    def flush(self) -> None:
        """Hand over what has been answered so far."""
        answered, self._answered = self._answered, []
        if answered:
            self.results.put(answered)

    def finish(self) -> None:
        """No request will follow: each lane ends when the feed is empty."""
        self._on_loop(self._end_lanes)

    def cancel(self) -> None:
        """End every lane now, whatever it waits for; what is in flight is cut off."""
        self._is_cancelled = True
        # A lane that starts later looks at the flag first.
        if self.started.done() and self.started.exception() is None:
            self._on_loop(self._interrupt)

    def _on_loop(self, call: Any, *arguments: Any) -> None:
        self.started.result().call_soon_threadsafe(call, *arguments)

    def _put(self, requests: Sequence[CompletionRequest]) -> None:
        for request in requests:
            self._feed.put_nowait(request)

    def _hand_over(self, completion: Completion) -> None:
        """Several at once: to wake the caller's thread for each one costs as much as a seventh of its call."""
        self._answered.append(completion)
        if len(self._answered) == 1:
            asyncio.get_running_loop().call_later(HAND_OVER_SECONDS, self.flush)

    def _end_lanes(self) -> None:
        for _ in range(self._lane_count):
            self._feed.put_nowait(None)

    def _interrupt(self) -> None:
        for circuit in self._circuits:
            circuit.interrupt()
        self._end_lanes()

    async def run_lane(self, facade: Any, circuit: Circuit) -> None:
        """Answer requests from the feed through one facade until it ends; raises nothing but CancelledError."""
        if not self.started.done():
            self.started.set_result(asyncio.get_running_loop())
        try:
            while not self._is_cancelled and (request := await self._feed.get()) is not None:
                if not await self._serve(request, facade, circuit):
                    return
        except Exception as error:
            # A fault of ours. The engine would log it and drop the row, and the caller would wait for ever.
            self.flush()
            self.results.put(error)

    async def _serve(self, request: CompletionRequest, facade: Any, circuit: Circuit) -> bool:
        """Bring one request to its end; False when the lane has nothing more to do."""
        completion = circuit.failed(request) if circuit.is_open else await self._answer(request, facade, circuit)
        if self._is_cancelled:
            return False
        has_failed = completion.error_kind is not None and completion.error_kind not in FINAL_KINDS
        if has_failed and circuit.is_open and not all(other.is_open for other in self._circuits):
            # Another server still works: its lanes take over what this lane holds.
            self._feed.put_nowait(request)
            return False
        self._hand_over(completion)
        return True

    async def _answer(self, request: CompletionRequest, facade: Any, circuit: Circuit) -> Completion:
        """One completion for the request, after as many attempts as the policy grants."""
        try:
            async with circuit.waiting():
                try:
                    return await self._attempt(request, facade, circuit)
                except CallError as error:
                    return await self._answer_after(error, request, facade, circuit)
        except TimeoutError:
            return circuit.failed(request)
        except CallError as error:
            if circuit.is_open and error.kind not in FINAL_KINDS:
                return circuit.failed(request)
            return Completion(request.request_key, error_kind=error.kind, error=str(error))

    async def _attempt(self, request: CompletionRequest, facade: Any, circuit: Circuit) -> Completion:
        """Send a request once and tell the circuit how that went."""
        try:
            completion = await complete(facade, request, self._policy)
        except CallError as error:
            if error.kind in FINAL_KINDS:
                circuit.record_contact()
            else:
                circuit.record_failure(error)
            raise
        circuit.record_contact()
        return completion

    async def _answer_after(
        self, first: CallError, request: CompletionRequest, facade: Any, circuit: Circuit
    ) -> Completion:
        """Further attempts of a request whose first one has failed; raises the last failure when none is left."""
        failures: Counter[ErrorKind] = Counter()
        started = time.monotonic()
        policy = self._policy
        pending: CallError | None = first

        def is_over(state: tenacity.RetryCallState) -> bool:
            last = _failure(state)
            failures[last.kind] += 1
            if not policy.attempts_left(last.kind, failures[last.kind]) or circuit.is_open:
                return True
            return time.monotonic() - started >= policy.give_up_after_seconds

        async def attempt() -> Completion:
            nonlocal pending
            if pending is not None:
                # The attempt that was made already; it only has to be waited after.
                error, pending = pending, None
                raise error
            return await self._attempt(request, facade, circuit)

        back_off = tenacity.wait_random_exponential(policy.first_wait_seconds, policy.longest_wait_seconds)
        return await tenacity.AsyncRetrying(
            stop=is_over,
            wait=lambda state: max(back_off(state), _failure(state).retry_after_seconds),
            retry=tenacity.retry_if_exception_type(CallError),
            reraise=True,
        )(attempt)


def _failure(state: tenacity.RetryCallState) -> CallError:
    """What the attempt ended with."""
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, CallError)
    return error
