"""The model server as a Dagster resource: what it serves, whether it is up, and a generator on top of it.

In: talking to running servers. Out: starting and stopping them (`server_process`, `server_container`) and
sending requests in bulk (`data_designer_generator`).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dagster as dg
import httpx
from pydantic import Field

from resources.errors import ModelNotServedError, ServerError, ServerUnreachableError, SettingError
from resources.inference import ServedModel
from resources.model_call import DEFAULT_RETRY, RetryPolicy
from resources.model_folder import content_revision

if TYPE_CHECKING:
    from resources.data_designer_generator import DataDesignerGenerator

_API_KEY_VARIABLE = "VLLM_API_KEY"
_NO_SERVER_BEHIND_PROXY = (502, 503, 504)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ServerHealth:
    """One server's answer to a health check. `detail` says what is wrong, or is empty."""

    base_url: str
    is_up: bool
    wall_seconds: float
    detail: str = ""


@dataclass(frozen=True)
class RequestTrial:
    """What one small request brought."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    wall_seconds: float


class VLLMResource(dg.ConfigurableResource):
    """One or several OpenAI-compatible servers of one model.

    The API key is read from the environment variable `api_key_variable` when it is used.
    """

    base_url: str = Field(
        default="http://127.0.0.1:8000/v1", description="OpenAI base URL; several, separated by commas."
    )
    model: str | None = Field(default=None, description="Model name; by default the only one that is served.")
    max_parallel_requests: int = Field(default=64, ge=1, description="Requests in flight for each server.")
    api_key_variable: str = Field(default=_API_KEY_VARIABLE, description="Environment variable that holds the API key.")
    probe_timeout_seconds: float = Field(default=10.0, gt=0, description="For health, model list and metrics.")
    request_timeout_seconds: float = Field(default=120.0, gt=0, description="For the test request.")
    answer_timeout_seconds: float = Field(
        default=DEFAULT_RETRY.request_timeout_seconds, gt=0, description="An answer in bulk may take this long."
    )
    give_up_after_seconds: float = Field(
        default=DEFAULT_RETRY.give_up_after_seconds,
        ge=0,
        description="A server that gives nothing but failures for this long is given up for the rest of a run.",
    )

    @property
    def base_urls(self) -> tuple[str, ...]:
        """The servers' base URLs without a trailing slash; raises SettingError for one that is none."""
        urls = tuple(url.strip().rstrip("/") for url in self.base_url.split(",") if url.strip())
        for url in urls:
            parts = urlsplit(url)
            if parts.username or parts.password:
                raise SettingError(
                    f"VLLM_BASE_URL holds a password for {parts.hostname}.",
                    f"URLs appear in logs: take it out and set {self.api_key_variable} instead.",
                )
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise SettingError(
                    f"VLLM_BASE_URL={url!r} is no URL of a server.",
                    "Accepted: http://host:port/v1, several by commas.",
                )
        if not urls:
            raise SettingError("VLLM_BASE_URL is empty.", "Accepted: http://host:port/v1, several by commas.")
        return urls

    def api_key(self) -> str | None:
        """The key, read from the environment each time: it is in no field, and so in no configuration or log."""
        return os.environ.get(self.api_key_variable) or None

    def served_models(self) -> list[ServedModel]:
        """The models that every one of the servers serves, in the order of the first.

        Raises ServerUnreachableError where nothing answers, ServerError where the answer is no model list or
        two servers have different weights under one name.
        """
        listings = [{model.name: model for model in self._models_at(url)} for url in self.base_urls]
        common = [name for name in listings[0] if all(name in listing for listing in listings)]
        return [_agreed([listing[name] for listing in listings]) for name in common]

    def served_model(self) -> ServedModel:
        """The configured model, or the only one served; raises ModelNotServedError with the choice."""
        models = self.served_models()
        names = ", ".join(model.name for model in models) or "no model in common"
        where = ", ".join(self.base_urls)
        if self.model is None:
            if len(models) == 1:
                return models[0]
            raise ModelNotServedError(
                f"{where} serves {names}, and no model is configured.",
                "Set VLLM_MODEL to one that is served.",
            )
        for model in models:
            if model.name == self.model:
                return model
        raise ModelNotServedError(
            f"The model {self.model} is not served at {where}; served is: {names}.",
            "Set VLLM_MODEL to a served name, unset it if there is just one, or run `synth serve`.",
        )

    def health(self) -> list[ServerHealth]:
        """One answer for each server; never raises for a server that is down."""
        return [self._health_of(url) for url in self.base_urls]

    def is_up(self) -> bool:
        """True when every server can answer requests."""
        return all(server.is_up for server in self.health())

    def test_request(self, prompt: str = "Name one planet.", max_tokens: int = 16) -> RequestTrial:
        """Ask the first server for a few tokens; raises ServerError when no answer comes."""
        url = self.base_urls[0]
        body = {
            "model": self.served_model().name,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "temperature": 0.0,
            # Models that know no thinking ignore it; the others would spend these few tokens on it.
            "chat_template_kwargs": {"enable_thinking": False},
        }
        started = time.perf_counter()
        answer = self._request("POST", url, f"{url}/chat/completions", self.request_timeout_seconds, body)
        wall_seconds = time.perf_counter() - started
        try:
            reply = answer.json()
            usage = reply["usage"]
            text = reply["choices"][0]["message"]["content"] or ""
            return RequestTrial(text, usage["prompt_tokens"], usage["completion_tokens"], wall_seconds)
        except (ValueError, LookupError, TypeError) as error:
            raise _strange_answer(url, "a test request", answer) from error

    def metrics(self) -> dict[str, float]:
        """Counters and gauges of `/metrics`, summed over labels and servers, histogram buckets left out.

        Names are as exported, such as `vllm:generation_tokens_total`. Empty where the servers export none.
        """
        return {name: sum(values) for name, values in self.metric_series(self.probe_timeout_seconds).items()}

    def metric_series(self, timeout_seconds: float) -> dict[str, list[float]]:
        """As `metrics`, with one value for each set of labels of each server: one for each engine, as a rule."""
        from prometheus_client.parser import text_string_to_metric_families  # 10 ms that only this needs

        series: dict[str, list[float]] = {}
        for url in self.base_urls:
            answer = self._request("GET", url, _root(url) + "/metrics", timeout_seconds, accept_missing=True)
            if answer.status_code != 200:
                continue
            for family in text_string_to_metric_families(answer.text):
                for sample in family.samples:
                    if not sample.name.endswith(("_bucket", "_created")):
                        series.setdefault(sample.name, []).append(sample.value)
        return series

    def generator(self) -> DataDesignerGenerator:
        """A generator over all the servers; raises ServerError when the model cannot be determined."""
        from resources.data_designer_generator import DataDesignerGenerator

        return DataDesignerGenerator(
            base_urls=self.base_urls,
            model=self.served_model(),
            api_key=self.api_key(),
            max_parallel_requests=self.max_parallel_requests,
            retry=RetryPolicy(self.answer_timeout_seconds, self.give_up_after_seconds),
        )

    def _models_at(self, url: str) -> list[ServedModel]:
        answer = self._request("GET", url, f"{url}/models", self.probe_timeout_seconds)
        try:
            entries: list[dict[str, Any]] = answer.json()["data"]
            return [_served_model(url, entry) for entry in entries]
        except (ValueError, LookupError, TypeError) as error:
            raise _strange_answer(url, "/models", answer) from error

    def _health_of(self, url: str) -> ServerHealth:
        started = time.perf_counter()
        detail = ""
        try:
            # vLLM's /v1/models goes on answering when its engine is dead; /health does not.
            answer = self._request("GET", url, _root(url) + "/health", self.probe_timeout_seconds, accept_missing=True)
            if answer.status_code != 200:
                self._models_at(url)
        except ServerError as error:
            detail = error.fact
        return ServerHealth(url, not detail, time.perf_counter() - started, detail)

    def _request(
        self,
        method: str,
        base_url: str,
        address: str,
        timeout_seconds: float,
        body: dict[str, Any] | None = None,
        *,
        accept_missing: bool = False,
    ) -> httpx.Response:
        key = self.api_key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            answer = httpx.request(
                method,
                address,
                json=body,
                headers=headers,
                timeout=timeout_seconds,
                # Reading all certificates takes 60 ms, and plain HTTP has no use for them.
                verify=address.startswith("https:"),
                # A proxy in the environment is not for this machine's own servers.
                trust_env=not _is_local(base_url),
            )
        except httpx.HTTPError as error:
            raise ServerUnreachableError(
                f"No model server answers at {base_url} ({type(error).__name__}: {error}).",
                "Start one with `synth serve`, or set VLLM_BASE_URL to one that runs.",
            ) from error
        if answer.status_code in (401, 403):
            raise ServerError(
                f"The server at {base_url} refused the API key (HTTP {answer.status_code}).",
                f"Set {self.api_key_variable} to the key that the server was started with.",
            )
        if answer.status_code in _NO_SERVER_BEHIND_PROXY:
            raise ServerUnreachableError(
                f"Nothing but a proxy answers at {base_url} (HTTP {answer.status_code}): there is no server behind it.",
                "Start the server, or set VLLM_BASE_URL to one that runs.",
            )
        if not answer.is_success and not (accept_missing and answer.status_code in (404, 405)):
            raise _strange_answer(base_url, urlsplit(address).path, answer)
        return answer


def _is_local(base_url: str) -> bool:
    return urlsplit(base_url).hostname in _LOOPBACK


def _root(base_url: str) -> str:
    return base_url.removesuffix("/v1")


def _served_model(base_url: str, entry: dict[str, Any]) -> ServedModel:
    root = entry.get("root") or None
    # A remote server's folder is not ours, though a folder of that name may lie here.
    revision = content_revision(root) if root and _is_local(base_url) else ""
    return ServedModel(name=entry["id"], revision=revision, max_model_len=entry.get("max_model_len"), root=root)


def _agreed(models: list[ServedModel]) -> ServedModel:
    """One model as several servers offer it: the shortest context counts."""
    revisions = sorted({model.revision for model in models})
    if len(revisions) > 1:
        raise ServerError(
            f"The servers have different weights under the name {models[0].name}.",
            "List only servers of the same weights in VLLM_BASE_URL.",
        )
    lengths = [model.max_model_len for model in models if model.max_model_len is not None]
    return ServedModel(models[0].name, revisions[0], min(lengths, default=None), models[0].root)


def _strange_answer(base_url: str, what: str, answer: httpx.Response) -> ServerError:
    return ServerError(
        f"The server at {base_url} answered {what} with HTTP {answer.status_code}: {answer.text[:200].strip()!r}.",
        "VLLM_BASE_URL must be an OpenAI-compatible base URL, which usually ends in /v1.",
    )
