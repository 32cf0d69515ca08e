"""`TextGenerator` on NeMo Data Designer's engine, which runs in a process of its own.

In: the bridge between the caller's stream of requests and the engine's lanes. Out: the engine
(`resources.lane_engine`), its process (`resources.engine_process`), and what a lane does (`resources.lanes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

from resources.engine_process import ProcessEngine
from resources.inference import Completion, CompletionRequest, ServedModel
from resources.lane_engine import EngineSettings, LaneEngine
from resources.lanes import Stop
from resources.model_call import DEFAULT_RETRY, RetryPolicy

_PULLED_FOR_A_LANE = 6
"""Requests that are pulled for each lane: the one in flight, and five that wait. At 64 lanes, 50 ms an answer and busy
cores a look-up in the ledger takes up to 0.28 s, in which 300 are sent; with two for each lane the lanes ran empty."""

_OFFERED_TOGETHER = 32
"""Requests that are pulled before they are offered; each offer wakes the event loop."""


class DataDesignerGenerator:
    """Asks one served model, behind one or more base URLs, with `max_parallel_requests` in flight at each.

    Requests that can pass are sent again as `retry` says; everything else comes back as a completion with an
    `error_kind`. A server that is dead for good is given up once for all its requests; while another one works, its
    lanes take them over. The engine's own health check is not used: it is one more paid request for each server and
    call, and a dead server would end the call where it should end as one error per request.
    """

    def __init__(
        self,
        base_urls: Sequence[str],
        model: ServedModel,
        api_key: str | None = None,
        max_parallel_requests: int = 64,
        retry: RetryPolicy = DEFAULT_RETRY,
        open_engine: Callable[[EngineSettings], LaneEngine] = ProcessEngine,
    ) -> None:
        if not base_urls:
            raise ValueError("base_urls is empty.")
        urls = tuple(dict.fromkeys(url.rstrip("/") for url in base_urls))
        self._settings = EngineSettings(urls, model.name, api_key, max_parallel_requests, retry)
        self._model = model
        self._open_engine = open_engine
        self._working: set[LaneEngine] = set()

    @property
    def model(self) -> ServedModel:
        """The model that answers."""
        return self._model

    def stop(self) -> None:
        """End every `generate` on other threads after what has been answered so far."""
        for engine in list(self._working):
            engine.results.put(Stop())

    def generate(self, requests: Iterable[CompletionRequest]) -> Iterator[Completion]:
        """Yield exactly one completion for each request, in the order in which answers come.

        `requests` is consumed in the caller's thread, and is at most six times the lanes ahead of what was
        yielded, so that neither a pause of the caller nor of `requests` drains the pipe. Closing the iterator ends
        all lanes and cuts off what is in flight. Raises ServerError when the engine cannot start.
        """
        most_pending = _PULLED_FOR_A_LANE * self._settings.lane_count
        engine = self._open_engine(self._settings)
        # Before the first request is pulled: whoever stops from then on is heard.
        self._working.add(engine)
        stream = iter(requests)
        first = next(stream, None)
        if first is None:
            self._working.discard(engine)
            return
        stream = chain([first], stream)
        pending = 0
        is_exhausted = False
        # The first request leaves before the second is pulled, which may take a while.
        together = 1
        try:
            engine.start()
            while True:
                while not is_exhausted and pending < most_pending:
                    some = list(islice(stream, min(together, most_pending - pending)))
                    together = min(2 * together, _OFFERED_TOGETHER)
                    is_exhausted = not some
                    engine.offer(some)
                    pending += len(some)
                if not pending:
                    break
                answered = engine.results.get()
                if isinstance(answered, Stop):
                    engine.cancel()
                    engine.join()
                    yield from _left_in(engine)
                    return
                if isinstance(answered, BaseException):
                    raise answered
                pending -= len(answered)
                yield from answered
            engine.finish()
        except BaseException:
            engine.cancel()
            raise
        finally:
            self._working.discard(engine)
            engine.join()


def _left_in(engine: LaneEngine) -> Iterator[Completion]:
    """What was answered while the lanes were being cancelled."""
    while not engine.results.empty():
        answered = engine.results.get()
        if isinstance(answered, list):
            yield from answered
