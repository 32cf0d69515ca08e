"""Commits answers to the ledger in small batches while they arrive.

In: when a batch is committed, and on whose thread. Out: what is committed and where (`resources.ledger`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from resources.errors import LakeError
from resources.inference import LedgerEntry


class _Recorder(Protocol):
    def record(self, entries: Sequence[LedgerEntry]) -> None: ...

    def compact_if_needed(self) -> bool: ...

    def clean_up(self) -> None: ...


_MOST_WAITING = 2
"""Batches that gather while another is committed. With one, a server that gives a batch in the 60 ms of a commit on
busy cores had its requests held back for 40% of the time."""

# A commit adds a file; looking after them this often keeps a writer's small ones under 80.
_COMPACT_EVERY_COMMITS = 64
# It lists every file of the lake, and removes only what has been unused for a day.
_CLEAN_UP_EVERY_SECONDS = 3600.0


class LedgerWriter:
    """Context manager: `add` answers as they come; a thread commits them, and a producer waits for slow commits only.

    What waits is committed when it is `batch_size` entries or `batch_seconds` have passed since the first of them
    came, and on leaving, whatever the reason. During a commit two batches may gather, which are then committed
    together; a producer that is faster waits in `add`. So `kill -9` loses at most what comes in during two commits, and
    never more than four batches of `batch_size`. An error of a commit is raised to the producer by the `add` or `flush`
    that waits or comes next, and by leaving the context if the entries cannot be committed then either.
    """

    def __init__(self, ledger: _Recorder, batch_size: int = 64, batch_seconds: float = 2.0) -> None:
        self.on_committed: Callable[[Sequence[str]], None] = lambda keys: None
        """Told the request keys of each batch as soon as it is committed, on the thread that committed it."""
        self._ledger = ledger
        self._batch_size = batch_size
        self._batch_seconds = batch_seconds
        self._state = threading.Condition()
        self._waiting: list[LedgerEntry] = []
        self._committing: list[LedgerEntry] = []
        self._commit_at = 0.0
        self._is_flushing = False
        self._is_closing = False
        self._error: BaseException | None = None
        self._commits = 0
        self._has_merged = False
        self._clean_up_at = time.monotonic() + _CLEAN_UP_EVERY_SECONDS
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def add(self, entry: LedgerEntry) -> None:
        """Hand over one answer; waits while a whole batch is waiting already.

        Raises what a commit raised, ValueError for a failed request; only after ValueError is the answer not ours.
        """
        if entry.completion.error_kind is not None:
            raise ValueError(f"A failed request is no answer to keep: {entry.completion.request_key}.")
        with self._state:
            try:
                self._state.wait_for(lambda: self._error or len(self._waiting) < _MOST_WAITING * self._batch_size)
            finally:
                # Also where commits fail or Ctrl-C ends the wait: leaving the context tries once more to keep it, and
                # counts what it could not.
                self._waiting.append(entry)
            self._raise_error()
            if len(self._waiting) == 1:
                self._commit_at = time.monotonic() + self._batch_seconds
            if len(self._waiting) in (1, self._batch_size):
                self._state.notify_all()

    def flush(self) -> None:
        """Wait until everything added so far is committed. Raises what a commit has raised."""
        with self._state:
            self._is_flushing = True
            self._state.notify_all()
            self._state.wait_for(lambda: self._error or not (self._waiting or self._committing))
            self._is_flushing = False
            self._raise_error()

    def pending_keys(self) -> set[str]:
        """Request keys of the entries that are not committed yet."""
        with self._state:
            return {entry.completion.request_key for entry in (*self._committing, *self._waiting)}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._state:
            self._is_closing = True
            self._state.notify_all()
        self._thread.join()
        left = [*self._committing, *self._waiting]
        if self._error is None or not left:
            return
        try:
            # The thread has given up, but paid answers are worth one more attempt.
            self._record(left)
        except LakeError as failure:
            # The first error is what happened; this one must not take its place.
            happened = failure if error is None else error
            because = "" if happened in (failure, self._error) else f" {failure}"
            happened.add_note(f"{len(left)} paid answers could not be kept and are asked for again.{because}")
            if error is None:
                raise

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._waiting or self._is_closing)
                while not self._is_due():
                    self._state.wait(self._commit_at - time.monotonic())
                if not self._waiting:
                    break
                self._committing, self._waiting = self._waiting, []
                self._state.notify_all()
            try:
                self._record(self._committing)
            except BaseException as error:
                with self._state:
                    self._error = error
                    self._state.notify_all()
                return
            with self._state:
                self._committing = []
                self._state.notify_all()
            self._commits += 1
            if self._commits % _COMPACT_EVERY_COMMITS == 0:
                self._look_after_files()
        if self._commits:
            self._look_after_files(is_last=True)

    def _record(self, entries: Sequence[LedgerEntry]) -> None:
        self._ledger.record(entries)
        self.on_committed([entry.completion.request_key for entry in entries])

    def _is_due(self) -> bool:
        is_asked = self._is_closing or self._is_flushing
        return is_asked or len(self._waiting) >= self._batch_size or time.monotonic() >= self._commit_at

    def _look_after_files(self, is_last: bool = False) -> None:
        try:
            self._has_merged |= self._ledger.compact_if_needed()
            if self._has_merged and (is_last or time.monotonic() >= self._clean_up_at):
                self._ledger.clean_up()
                self._has_merged = False
                self._clean_up_at = time.monotonic() + _CLEAN_UP_EVERY_SECONDS
        except LakeError:
            # This only saves time and space, and 64 commits later it is tried again.
            return
