"""`TextGenerator` on NeMo Data Designer's engine: its configuration, providers, throttling and model facade.

In: the engine's set-up and the bridge between the caller's thread and its event loop. Out: what a lane does
(`resources.lanes`) and what one call is (`resources.model_call`).

One `create()` call runs one custom column over a seed of as many rows as requests may be in flight, and each row is a
lane that takes requests from a shared feed until none is left. Rows of documents instead would drain the pipe at each
chunk's end (`create()` has to be chunked, for its memory grows with its rows), lose a row with its answer, and pay
the engine's scheduling once per request. The engine cannot be forked after its first use: spawn.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from resources.aiohttp_client import AiohttpClient
from resources.errors import ServerError
from resources.inference import Completion, CompletionRequest, ServedModel
from resources.lanes import Circuit, Lanes, Stop
from resources.model_call import DEFAULT_RETRY, RetryPolicy
from resources.scratch import scratch_folder, temporary_folder

_API_KEY_NAME = "SYNTH_GENERATOR_API_KEY"
_JOIN_SECONDS = 30.0
_OFFERED_TOGETHER = 32
"""Requests that are pulled before they are offered; each offer wakes the event loop."""
_import_lock = threading.Lock()


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
    ) -> None:
        if not base_urls:
            raise ValueError("base_urls is empty.")
        self._base_urls = list(dict.fromkeys(url.rstrip("/") for url in base_urls))
        self._model = model
        self._api_key = api_key
        self._parallel = max_parallel_requests
        self._retry = retry
        self._working: set[Lanes] = set()

    @property
    def model(self) -> ServedModel:
        """The model that answers."""
        return self._model

    def stop(self) -> None:
        """End every `generate` on other threads after what has been answered so far."""
        for lanes in list(self._working):
            lanes.results.put(Stop())

    def generate(self, requests: Iterable[CompletionRequest]) -> Iterator[Completion]:
        """Yield exactly one completion for each request, in the order in which answers come.

        `requests` is consumed in the caller's thread, and is at most three times the lanes ahead of what was yielded:
        one in flight, two waiting, so that neither a pause of the caller nor of `requests` drains the pipe. Closing
        the iterator ends all lanes and cuts off what is in flight. Raises ServerError when the engine cannot start.
        """
        lane_count = self._parallel * len(self._base_urls)
        circuits = [Circuit(url, self._retry) for url in self._base_urls]
        lanes = Lanes(circuits, self._retry, lane_count)
        # Before the first request is pulled: whoever stops from then on is heard.
        self._working.add(lanes)
        stream = iter(requests)
        first = next(stream, None)
        if first is None:
            self._working.discard(lanes)
            return
        stream = chain([first], stream)
        engine = threading.Thread(target=self._run, args=(lanes, circuits), name="data-designer", daemon=True)
        engine.start()
        pending = 0
        is_exhausted = False
        # The first request leaves before the second is pulled, which may take a while.
        together = 1
        try:
            lanes.started.result()
            while True:
                while not is_exhausted and pending < 3 * lane_count:
                    some = list(islice(stream, min(together, 3 * lane_count - pending)))
                    together = min(2 * together, _OFFERED_TOGETHER)
                    is_exhausted = not some
                    lanes.offer(some)
                    pending += len(some)
                if not pending:
                    break
                answered = lanes.results.get()
                if isinstance(answered, Stop):
                    lanes.cancel()
                    yield from _left_in(lanes)
                    return
                if isinstance(answered, BaseException):
                    raise answered
                pending -= len(answered)
                yield from answered
            lanes.finish()
        except BaseException:
            lanes.cancel()
            raise
        finally:
            self._working.discard(lanes)
            engine.join(_JOIN_SECONDS)

    def _run(self, lanes: Lanes, circuits: list[Circuit]) -> None:
        """Run the lanes to their end; whatever stops them early goes to the caller."""
        try:
            with temporary_folder("lanes") as folder:
                self._create(folder, lanes, circuits)
            reason = "it ended before all requests were answered"
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        failure = ServerError(
            f"Data Designer's engine stopped: {reason}.",
            "What was answered before is kept; start the run again.",
        )
        if not lanes.started.done():
            lanes.started.set_exception(failure)
        lanes.flush()
        # After the last answer nobody reads this.
        lanes.results.put(failure)

    def _create(self, folder: Path, lanes: Lanes, circuits: list[Circuit]) -> None:
        dd, interface = _import_engine()
        aliases = [f"server_{place}" for place in range(len(circuits))]
        lane_count = self._parallel * len(circuits)
        clients: dict[str, AiohttpClient] = {}
        lanes_left = lane_count

        @dd.custom_column_generator(required_columns=["lane"], model_aliases=aliases)
        async def ended(row: dict[str, Any], generator_params: None, models: dict[str, Any]) -> dict[str, Any]:
            nonlocal lanes_left
            place = int(row["lane"]) % len(circuits)
            alias = aliases[place]
            client = clients.get(alias) or clients.setdefault(alias, AiohttpClient())
            try:
                await lanes.run_lane(_prepared(models[alias], client), circuits[place])
            finally:
                lanes_left -= 1
                if not lanes_left:
                    # `create` leaves its clients open.
                    for used in clients.values():
                        await used.aclose()
            row["ended"] = True
            return row

        providers = [
            dd.ModelProvider(name=alias, endpoint=circuit.base_url, api_key=_API_KEY_NAME if self._api_key else None)
            for alias, circuit in zip(aliases, circuits, strict=True)
        ]
        builder = dd.DataDesignerConfigBuilder(
            model_configs=[
                dd.ModelConfig(
                    alias=alias,
                    model=self._model.name,
                    provider=alias,
                    inference_parameters=dd.ChatCompletionInferenceParams(max_parallel_requests=self._parallel),
                    skip_health_check=True,
                )
                for alias in aliases
            ]
        )
        builder.with_seed_dataset(dd.DataFrameSeedSource(df=_lane_frame(lane_count)))
        builder.add_column(dd.CustomColumnConfig(name="ended", generator_function=ended))
        designer = interface.DataDesigner(
            artifact_path=folder,
            model_providers=providers,
            secret_resolver=_Secret(self._api_key),
            auto_configure_logging=False,
        )
        designer.set_run_config(self._run_config(dd, lane_count))
        designer.create(builder, num_records=lane_count, dataset_name="lanes")

    def _run_config(self, dd: Any, lane_count: int) -> Any:
        return dd.RunConfig(
            disable_early_shutdown=True,
            # All lanes have to run at once: one row group, and a task slot for each.
            buffer_size=lane_count,
            max_concurrent_row_groups=1,
            max_in_flight_tasks=lane_count,
            otel_metrics_port=None,
            # After a rate limit the engine cuts the requests in flight by a quarter and, by default, adds back one
            # for 25 successes: from 192 to 256 takes 1,600 requests. A sixteenth of the limit takes 100.
            request_admission=dd.RequestAdmissionTuningConfig(additive_increase_step=max(1, self._parallel // 16)),
        )


class _Secret:
    """Gives the engine the API key without writing it into any configuration."""

    def __init__(self, api_key: str | None) -> None:
        self._api_key = api_key

    def resolve(self, secret: str) -> str:
        return self._api_key if secret == _API_KEY_NAME and self._api_key else secret


def _lane_frame(lane_count: int) -> Any:
    import pandas as pd

    return pd.DataFrame({"lane": range(lane_count)})


def _import_engine() -> tuple[Any, Any]:
    """Data Designer's configuration and interface modules, imported late: they take 2.5 s."""
    with _import_lock:
        first_time = "data_designer" not in sys.modules
        if first_time:
            # Its folder for default settings; the name is read at import, and child processes must not inherit it.
            os.environ["DATA_DESIGNER_HOME"] = str(scratch_folder("data-designer"))
            os.environ["NEMO_TELEMETRY_ENABLED"] = "false"
            # It logs with their traces what is reported here in words, and faults of its artifacts, which nobody reads.
            logging.getLogger("data_designer").setLevel(logging.CRITICAL)
        import data_designer.config as dd
        import data_designer.engine.utils.token_counting as token_counting
        import data_designer.interface as interface

        if first_time:
            del os.environ["DATA_DESIGNER_HOME"]
        # The engine estimates the tokens of a reasoning text with a tokenizer file from the internet, asked for anew
        # with each answer and waited for on the event loop. Nobody here reads the estimate; it skips it on an error.
        token_counting.get_cl100k_base_tokenizer = _no_tokenizer
    return dd, interface


def _no_tokenizer() -> Any:
    raise RuntimeError("Reasoning tokens are not estimated.")


def _prepared(facade: Any, client: AiohttpClient) -> Any:
    """The facade with another HTTP client below it, without the executor's retries and events; on its event loop.

    In 0.9.6 no setting reaches any of them. The three silent retries (after 2, 4 and 8 s) would multiply with the
    lane's and hide a dead server from the circuit for 14 s. Events of admission are made for each request also where
    nobody listens: a quarter of what a call costs.
    """
    from data_designer.engine.models.clients.retry import RetryConfig

    executor = facade._client
    executor._retry_config = RetryConfig(max_retries=0)
    admission = executor._request_admission
    admission._request_event_locked = admission._emit_events = _nothing
    executor._inner._aclient = client
    return facade


def _left_in(lanes: Lanes) -> Iterator[Completion]:
    """What was answered while the lanes were being cancelled."""
    lanes.flush()
    while not lanes.results.empty():
        answered = lanes.results.get()
        if isinstance(answered, list):
            yield from answered


def _nothing(*_arguments: object, **_options: object) -> None:
    pass
