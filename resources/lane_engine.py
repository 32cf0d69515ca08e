"""Lanes on NeMo Data Designer's engine: its configuration, providers, throttling and model facade.

In: setting the engine up, running the lanes on it, ending it. Out: what a lane does (`resources.lanes`), what one call
is (`resources.model_call`), and in which process it happens (`resources.engine_process`).

One `create()` call runs one custom column over a seed of as many rows as requests may be in flight, and each row is a
lane that takes requests from a shared feed until none is left. Rows of documents instead would drain the pipe at each
chunk's end (`create()` has to be chunked, for its memory grows with its rows), lose a row with its answer, and pay
the engine's scheduling once per request. The engine cannot be forked after its first use: spawn.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from resources.aiohttp_client import AiohttpClient
from resources.errors import ServerError
from resources.inference import Completion, CompletionRequest
from resources.lanes import Circuit, Lanes, Stop
from resources.model_call import RetryPolicy
from resources.scratch import scratch_folder, temporary_folder

_API_KEY_NAME = "SYNTH_GENERATOR_API_KEY"
JOIN_SECONDS = 30.0
_import_lock = threading.Lock()

Results = queue.SimpleQueue[list[Completion] | BaseException | Stop]


@dataclass(frozen=True)
class EngineSettings:
    """Whom an engine asks, and how; travels between processes. The key is never shown."""

    base_urls: tuple[str, ...]
    model_name: str
    api_key: str | None = field(repr=False)
    max_parallel_requests: int
    """In flight at each server."""
    retry: RetryPolicy

    @property
    def lane_count(self) -> int:
        """Requests in flight at all servers together."""
        return self.max_parallel_requests * len(self.base_urls)


class LaneEngine(Protocol):
    """Runs lanes somewhere; for one `generate`, and for its thread alone but for `results`."""

    results: Results
    """Answers as they come; an exception, the last item, when the engine has ended before its time."""

    def start(self) -> None:
        """Start the lanes; returns before they run."""
        ...

    def offer(self, requests: Sequence[CompletionRequest]) -> None:
        """Give requests to the lanes. Raises ServerError when they cannot start."""
        ...

    def finish(self) -> None:
        """No request will follow, and all are answered."""
        ...

    def cancel(self) -> None:
        """End every lane now, whatever it waits for; what is in flight is cut off."""
        ...

    def join(self) -> None:
        """Wait for the end; then `results` holds all that was answered."""
        ...


class LocalEngine:
    """Lanes on threads of this process; implements `LaneEngine`."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._circuits = [Circuit(url, settings.retry) for url in settings.base_urls]
        self._lanes = Lanes(self._circuits, settings.retry, settings.lane_count)
        self.results: Results = self._lanes.results
        self.offer = self._lanes.offer
        self.finish = self._lanes.finish
        self.cancel = self._lanes.cancel
        self._thread = threading.Thread(target=self._run, name="data-designer", daemon=True)

    def start(self) -> None:
        """Start the lanes; returns before they run."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end, for half a minute at most."""
        self._thread.join(JOIN_SECONDS)

    @property
    def has_ended(self) -> bool:
        """Whether no lane runs any more."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        """Run the lanes to their end; whatever stops them early goes to the caller."""
        lanes = self._lanes
        try:
            with temporary_folder("lanes") as folder:
                self._create(folder)
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

    def _create(self, folder: Path) -> None:
        dd, interface = import_engine()
        settings, circuits, lanes = self._settings, self._circuits, self._lanes
        aliases = [f"server_{place}" for place in range(len(circuits))]
        clients: dict[str, AiohttpClient] = {}
        lanes_left = settings.lane_count

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

        key_name = _API_KEY_NAME if settings.api_key else None
        providers = [
            dd.ModelProvider(name=alias, endpoint=circuit.base_url, api_key=key_name)
            for alias, circuit in zip(aliases, circuits, strict=True)
        ]
        builder = dd.DataDesignerConfigBuilder(
            model_configs=[
                dd.ModelConfig(
                    alias=alias,
                    model=settings.model_name,
                    provider=alias,
                    inference_parameters=dd.ChatCompletionInferenceParams(
                        max_parallel_requests=settings.max_parallel_requests
                    ),
                    skip_health_check=True,
                )
                for alias in aliases
            ]
        )
        builder.with_seed_dataset(dd.DataFrameSeedSource(df=_lane_frame(settings.lane_count)))
        builder.add_column(dd.CustomColumnConfig(name="ended", generator_function=ended))
        designer = interface.DataDesigner(
            artifact_path=folder,
            model_providers=providers,
            secret_resolver=_Secret(settings.api_key),
            auto_configure_logging=False,
        )
        designer.set_run_config(_run_config(dd, settings))
        designer.create(builder, num_records=settings.lane_count, dataset_name="lanes")


def _run_config(dd: Any, settings: EngineSettings) -> Any:
    # After a rate limit the engine cuts the requests in flight by a quarter and, by default, adds back one for 25
    # successes: from 192 to 256 takes 1,600 requests. A sixteenth of the limit takes 100.
    step = max(1, settings.max_parallel_requests // 16)
    return dd.RunConfig(
        disable_early_shutdown=True,
        # All lanes have to run at once: one row group, and a task slot for each.
        buffer_size=settings.lane_count,
        max_concurrent_row_groups=1,
        max_in_flight_tasks=settings.lane_count,
        otel_metrics_port=None,
        request_admission=dd.RequestAdmissionTuningConfig(additive_increase_step=step),
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


def import_engine() -> tuple[Any, Any]:
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


def _nothing(*_arguments: object, **_options: object) -> None:
    pass
