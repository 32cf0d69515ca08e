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
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

import tenacity

from resources.inference import Completion, CompletionRequest, ErrorKind
from resources.model_call import FINAL_KINDS, HOPELESS_KINDS, CallError, RetryPolicy, complete


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
        self.results: queue.SimpleQueue[Completion | BaseException | Stop] = queue.SimpleQueue()
        self.started: Future[asyncio.AbstractEventLoop] = Future()
        """Done when the first lane runs; whoever runs the lanes sets the exception when they cannot start."""
        self._circuits = circuits
        self._policy = policy
        self._lane_count = lane_count
        self._feed: asyncio.Queue[CompletionRequest | None] = asyncio.Queue()
        self._is_cancelled = False

    def offer(self, request: CompletionRequest) -> None:
        """Put a request on the feed."""
        self._on_loop(self._feed.put_nowait, request)

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
        self.results.put(completion)
        return True

    async def _answer(self, request: CompletionRequest, facade: Any, circuit: Circuit) -> Completion:
        """One completion for the request, after as many attempts as the policy grants."""
        failures: Counter[ErrorKind] = Counter()
        first_failure = 0.0
        last: CallError | None = None
        policy = self._policy

        def is_over(state: tenacity.RetryCallState) -> bool:
            if not last or not policy.attempts_left(last.kind, failures[last.kind]) or circuit.is_open:
                return True
            return time.monotonic() - first_failure >= policy.give_up_after_seconds

        back_off = tenacity.wait_random_exponential(policy.first_wait_seconds, policy.longest_wait_seconds)
        attempts = tenacity.AsyncRetrying(
            stop=is_over,
            wait=lambda state: max(back_off(state), last.retry_after_seconds if last else 0.0),
            retry=tenacity.retry_if_exception_type(CallError),
            reraise=True,
        )

        async def attempt() -> Completion:
            nonlocal first_failure, last
            try:
                completion = await complete(facade, request, policy)
            except CallError as error:
                last = error
                first_failure = first_failure or time.monotonic()
                failures[error.kind] += 1
                if error.kind in FINAL_KINDS:
                    circuit.record_contact()
                else:
                    circuit.record_failure(error)
                raise
            circuit.record_contact()
            return completion

        try:
            async with circuit.waiting():
                return await attempts(attempt)
        except TimeoutError:
            return circuit.failed(request)
        except CallError as error:
            if circuit.is_open and error.kind not in FINAL_KINDS:
                return circuit.failed(request)
            return Completion(request.request_key, error_kind=error.kind, error=str(error))
