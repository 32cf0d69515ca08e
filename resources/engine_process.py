"""The engine in a process of its own: its event loop never waits for this process's interpreter lock.

In: starting such processes, keeping them for the next purchase, and what travels between the two. Out: what runs there
(`resources.engine_worker`, `resources.lane_engine`).

In one process at 64 in flight and 50 ms an answer, with requests always at hand, only 30 were in flight: each time the
loop let go of the interpreter to send or to receive, it waited for the threads that plan, clean up and commit. A worker
is kept when its purchase is over, since Data Designer takes 2.5 s to import. It ends with this process, however that
ends, and dies alone when it is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from resources.errors import ServerError
from resources.inference import CompletionRequest
from resources.lane_engine import JOIN_SECONDS, EngineSettings, Results

BEGIN, OFFER, FINISH, CANCEL = "begin", "offer", "finish", "cancel"
"""What is said to a worker. It answers with lists of completions, maybe an exception, and ENDED."""
ENDED = "ended"

_PATIENCE_SECONDS = 2.0
_PACKAGE_ROOT = str(Path(__file__).parents[1])


class _Worker:
    """A process that runs one purchase's lanes at a time."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 - this project's own module
                [sys.executable, "-P", "-m", "resources.engine_worker", str(theirs.fileno())],
                # Its output is ours only where it goes wrong; Ctrl-C is for this process, which ends the worker.
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                # `resources` is a name that others use, too.
                env={**os.environ, "PYTHONPATH": os.pathsep.join([_PACKAGE_ROOT, *_python_path()])},
            )
        self.connection = Connection(ours.detach())

    def end(self) -> None:
        """End it, which has nothing to do; the end of the connection tells it to."""
        self.connection.close()
        try:
            self.process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once; its end of the connection tells whoever reads."""
        self.process.kill()
        self.process.wait()


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


_idle: list[_Worker] = []
_idle_lock = threading.Lock()


def _take_worker() -> _Worker:
    with _idle_lock:
        while _idle:
            worker = _idle.pop()
            if worker.process.poll() is None:
                return worker
            worker.end()
    return _Worker()


@atexit.register
def _end_idle_workers() -> None:
    # Another Ctrl-C while they end is no news, and they end without us.
    with contextlib.suppress(KeyboardInterrupt), _idle_lock:
        while _idle:
            _idle.pop().end()


class ProcessEngine:
    """Lanes in a worker process; implements `resources.lane_engine.LaneEngine`."""

    def __init__(self, settings: EngineSettings) -> None:
        self.results: Results = queue.SimpleQueue()
        self._settings = settings
        self._worker: _Worker | None = None
        self._is_ended = False
        self._reader = threading.Thread(target=self._read, name="engine-results", daemon=True)

    def start(self) -> None:
        """Start the lanes in a worker that is idle, or in a new one. Raises ServerError where there can be none."""
        try:
            self._worker = _take_worker()
        except OSError as error:
            raise ServerError(
                f"The process that sends the requests cannot be started: {error}.",
                "Free memory or process numbers (`ulimit -u`), and start the run again.",
            ) from error
        self._reader.start()
        self._say(BEGIN, self._settings)

    def offer(self, requests: Sequence[CompletionRequest]) -> None:
        """Give requests to the lanes."""
        if requests:
            self._say(OFFER, requests)

    def finish(self) -> None:
        """No request will follow, and all are answered."""
        self._say(FINISH)

    def cancel(self) -> None:
        """End every lane now; what is in flight is cut off."""
        self._say(CANCEL)

    def join(self) -> None:
        """Wait until the worker has nothing more to say; one that does not come to its end is killed."""
        worker = self._worker
        if worker is None:
            return
        self._reader.join(JOIN_SECONDS)
        if self._is_ended:
            with _idle_lock:
                _idle.append(worker)
        else:
            worker.kill()
            self._reader.join()
            worker.connection.close()
        self._worker = None

    def _say(self, what: str, content: object = None) -> None:
        # Of a worker that has died the reader tells.
        if self._worker is not None:
            with contextlib.suppress(OSError):
                self._worker.connection.send((what, content))

    def _read(self) -> None:
        assert self._worker is not None
        connection = self._worker.connection
        try:
            while (said := connection.recv()) != ENDED:
                self.results.put(said)
            self._is_ended = True
        except (EOFError, OSError):
            self.results.put(
                ServerError(
                    "The process that sends the requests has ended before all of them were answered.",
                    "What was answered before is kept; start the run again. If it was killed for lack of memory, "
                    "lower VLLM_MAX_PARALLEL_REQUESTS.",
                )
            )
