"""Buying on a thread of its own, so that tables are made while later answers are still under way.

In: the thread, which of its requests have no outcome yet, and waiting for those that are needed now. Out: the purchase
itself (`synth_assets.core.purchasing`).

Parts are bought in order, and whoever makes a table of a part waits for the next documents of it only: what answers
come to (clean-up, counting, writing) is done in the time in which the server makes the next ones.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing

from synth_assets.core.pulling_ahead import pulled_ahead
from synth_assets.core.purchasing import Purchaser, PurchaseStoppedError
from synth_assets.core.request_planning import PlannedRequest

PLANNED_AHEAD = 512
"""Requests planned before they are looked up: as many as one look-up is for, since while they are planned (0.2 s) no
answer would be kept and no request sent. Some 2 MB."""

DocumentRequests = Sequence[PlannedRequest]
"""All requests of one document, maybe none."""


class BuyingAhead:
    """At most one purchase at a time of one purchaser; a part is bought for once, unless its purchase broke off."""

    def __init__(self, purchaser: Purchaser) -> None:
        self._purchaser = purchaser
        self._state = threading.Condition()
        self._parts: set[Hashable] = set()
        self._documents: Counter[Hashable] = Counter()
        self._planned: set[Hashable] = set()
        self._open: set[str] = set()
        self._thread: threading.Thread | None = None
        self._is_running = False
        self._is_stopping = False
        self._error: BaseException | None = None

    def begin(self, parts: Mapping[Hashable, Iterable[DocumentRequests]]) -> None:
        """Start buying what the ledger lacks of these parts; those that were begun before are left out.

        A purchase under way is waited for first. Raises what that one ended with, until `finish` or `stop` was called:
        what broke off is not begun again behind the back of whoever began it.
        """
        news = {part: documents for part, documents in parts.items() if part not in self._parts}
        if not news:
            return
        self._join()
        self.check()
        self._parts.update(news)
        self._documents.clear()
        # What was bought for before stays settled.
        self._planned.difference_update(news)
        self._open.clear()
        self._is_stopping = False
        self._is_running = True
        self._thread = threading.Thread(target=self._buy, args=(news,), name="buying-ahead", daemon=True)
        # A process that ends in the middle keeps what is answered.
        atexit.register(self.stop)
        self._thread.start()

    def wait(self, part: Hashable, document_count: int | None, request_keys: Collection[str]) -> float | None:
        """Wait until these requests, of the first `document_count` documents of the part, are answered or failed.

        With None they are of any of its documents. Returns the seconds that it took; None, at once, for a part that was
        never begun. Raises what the purchase ends with when it ends before.
        """

        def is_settled() -> bool:
            is_planned = document_count is not None and self._documents[part] >= document_count
            return (is_planned or part in self._planned) and self._open.isdisjoint(request_keys)

        with self._state:
            if part not in self._parts and self._error is None:
                return None
            started = time.monotonic()
            is_waiting = not is_settled()
            self._state.wait_for(lambda: not self._is_running or is_settled())
            if self._error is not None and not is_settled():
                raise self._error
            return time.monotonic() - started if is_waiting else 0.0

    def check(self) -> None:
        """Raise what the purchase under way has ended with, if it has."""
        if self._error is not None:
            raise self._error

    def is_under_way(self, patience_seconds: float) -> bool:
        """Whether the purchase still goes on after so long a wait."""
        if self._thread is not None:
            self._thread.join(patience_seconds)
        return self._thread is not None and self._thread.is_alive()

    def finish(self) -> None:
        """Wait for the end of the purchase under way, if any; raises what it ended with."""
        self._join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def stop(self) -> None:
        """End the purchase now: what is in flight is cut off, what is answered is kept."""
        if self._is_running:
            # The purchaser hears of it only once it buys; before that, the stream that it pulls says so.
            self._is_stopping = True
            self._purchaser.stop()
        self._join()
        self._error = None

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            atexit.unregister(self.stop)

    def _buy(self, parts: Mapping[Hashable, Iterable[DocumentRequests]]) -> None:
        error: BaseException | None = None
        try:
            with closing(pulled_ahead(self._requests(parts), PLANNED_AHEAD)) as requests:
                self._purchaser.buy(requests, self._settle)
        except BaseException as failure:
            error = failure
        with self._state:
            if error is not None:
                self._error = error
                self._parts.difference_update(parts)
            self._is_running = False
            self._state.notify_all()

    def _requests(self, parts: Mapping[Hashable, Iterable[DocumentRequests]]) -> Iterator[PlannedRequest]:
        for part, documents in parts.items():
            for requests in documents:
                if self._is_stopping:
                    raise PurchaseStoppedError()
                with self._state:
                    # Open before it is counted: no request of a document that was counted is unknown here.
                    self._open.update(planned.request.request_key for planned in requests)
                    self._documents[part] += 1
                    if not requests:
                        self._state.notify_all()
                yield from requests
            with self._state:
                self._planned.add(part)
                self._state.notify_all()

    def _settle(self, request_keys: Collection[str]) -> None:
        with self._state:
            self._open.difference_update(request_keys)
            self._state.notify_all()
