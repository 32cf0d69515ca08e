"""A fake model server: real HTTP, vLLM's routes and shapes, no model, and any misbehaviour on demand.

In: the server, its counters and its life cycle. Out: what it answers (`resources.fake_answers`), the shapes it
answers in (`resources.fake_wire`), what it can be told to do (`resources.fake_behaviour`). It runs in a thread of its
own, so that a test talks to it over a socket as it would to vLLM.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import threading
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from aiohttp import web

from resources import fake_wire as wire
from resources.fake_answers import FakeTokenizer, answer, content_text, prompt_token_count
from resources.fake_behaviour import CALM, Behaviour, Fault
from resources.inference import ServedModel

FAKE_MODEL = ServedModel("fake-model", root="fake/model", max_model_len=8192)


class FakeServer:
    """An OpenAI-compatible server on 127.0.0.1 with vLLM's other routes; a context manager, or `start` and `stop`.

    `behaviour` can be replaced while it runs. Counters may be read from any thread at any time. With `flops_per_token`
    its metrics tell of FLOPs and bytes, as vLLM's do with `--enable-mfu-metrics`.
    """

    def __init__(
        self,
        *,
        models: Sequence[ServedModel] = (FAKE_MODEL,),
        behaviour: Behaviour = CALM,
        port: int = 0,
        api_key: str | None = None,
        keep_bodies: bool = False,
        flops_per_token: int = 0,
    ) -> None:
        self.models = tuple(models)
        self.port = port
        """Port it listens on; a free one is chosen at the start where 0 was given, and kept from then on."""
        self.request_count = 0
        """Chat completion requests received, whatever became of them."""
        self.answered_count = 0
        """Chat completion requests that got a completion."""
        self.tokenize_count = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self.bodies: list[dict[str, Any]] = []
        """Bodies of the chat completion requests in order of arrival, where `keep_bodies` is set."""
        self._api_key = api_key
        self._keep_bodies = keep_bodies
        self._flops_per_token = flops_per_token
        self._behaviour = behaviour
        self._ordinals: Counter[int] = Counter()
        self._by_system_prompt: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._revival: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        """What `VLLM_BASE_URL` would be: it ends in /v1."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def behaviour(self) -> Behaviour:
        """How the server acts now; setting it starts the faults' counts anew."""
        return self._behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        with self._lock:
            self._behaviour = behaviour
            self._ordinals.clear()

    @property
    def requests_by_system_prompt(self) -> dict[str, int]:
        """Chat completion requests received for each system prompt."""
        with self._lock:
            return dict(self._by_system_prompt)

    def __enter__(self) -> FakeServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; returns when requests are answered. Raises OSError when the port is taken."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop.run_forever, name="fake-server", daemon=True)
            self._thread.start()
        self._run(self._listen())

    def stop(self) -> None:
        """Break every connection and end for good."""
        if self._thread is None:
            return
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._thread = None

    def die(self, seconds: float | None = None) -> None:
        """Break every connection and refuse new ones, for `seconds` or until `start`."""
        self._run(self._close(seconds))

    def die_soon(self, seconds: float | None = None) -> None:
        """As `die`, without waiting for it: for a `Fault.when`, which is asked on the server's own thread."""
        asyncio.run_coroutine_threadsafe(self._close(seconds), self._loop)

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    async def _listen(self, delay_seconds: float = 0.0) -> None:
        await asyncio.sleep(delay_seconds)
        if self._runner is not None:
            return
        app = web.Application(client_max_size=256 * 1024**2)
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/metrics", self._metrics),
                web.get("/v1/models", self._models),
                web.post("/v1/chat/completions", self._chat),
                web.post("/tokenize", self._tokenize),
            ]
        )
        # A handler whose client has gone away is cancelled, as vLLM aborts the request.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True, backlog=2048).start()
        self.port = runner.addresses[0][1]
        self._runner = runner

    async def _close(self, revive_after_seconds: float | None = None) -> None:
        if self._revival is not None:
            self._revival.cancel()
        runner, self._runner = self._runner, None
        if runner is not None:
            for site in list(runner.sites):
                await site.stop()
            for connection in list(runner.server.connections if runner.server else []):
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()
        if revive_after_seconds is not None:
            self._revival = asyncio.create_task(self._listen(revive_after_seconds))

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _metrics(self, request: web.Request) -> web.Response:
        with self._lock:
            text = wire.metrics(self.models[0].name, self.in_flight, self._tokens, self._flops_per_token)
        return web.Response(text=text, content_type="text/plain")

    async def _models(self, request: web.Request) -> web.Response:
        self._check_key(request)
        return web.json_response(wire.model_list(self.models))

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        with self._lock:
            self.tokenize_count += 1
        # With special tokens, there is one: the beginning of the text.
        count = FakeTokenizer().count_tokens([body["prompt"]])[0] + bool(body.get("add_special_tokens", True))
        tokens = list(range(count))
        return web.json_response({"count": count, "max_model_len": self.models[0].max_model_len, "tokens": tokens})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self._check_key(request)
        body = await request.json()
        system = next((content_text(message) for message in body["messages"] if message["role"] == "system"), "")
        with self._lock:
            self.request_count += 1
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            cached_prefix = system if self._by_system_prompt[system] else ""
            self._by_system_prompt[system] += 1
            if self._keep_bodies:
                self.bodies.append(body)
            latency_seconds = self._behaviour.latency_of(body)
            fault = self._fault_for(body)
        try:
            await asyncio.sleep(latency_seconds)
            return await self._answer(request, body, fault, cached_prefix)
        finally:
            with self._lock:
                self.in_flight -= 1

    def _fault_for(self, body: Mapping[str, Any]) -> Fault | None:
        for place, fault in enumerate(self._behaviour.faults):
            if fault.matches(body):
                self._ordinals[place] += 1
                if fault.strikes(self._ordinals[place]):
                    return fault
        return None

    async def _answer(
        self, request: web.Request, body: Mapping[str, Any], fault: Fault | None, cached_prefix: str
    ) -> web.StreamResponse:
        kind = fault.kind if fault else None
        if kind == "hang":
            await asyncio.Event().wait()
        if fault and kind == "proxy_page":
            return wire.proxy_page(fault.status)
        if fault and kind == "status":
            message = f"The fake server was told to answer {fault.status}."
            return wire.error(fault.status, message, fault.retry_after_seconds)
        model = next((model for model in self.models if model.name == body.get("model")), None)
        if model is None:
            return wire.error(404, f"The model `{body.get('model')}` does not exist.")
        prompt_tokens = prompt_token_count(body["messages"])
        limit = model.max_model_len or 8192
        max_tokens = body.get("max_tokens") or max(0, limit - prompt_tokens)
        if kind == "context_overflow" or prompt_tokens + max_tokens > limit:
            return wire.context_overflow(limit, prompt_tokens, max_tokens)
        try:
            reply = answer(body["messages"], wire.requested_schema(body), max_tokens, self.behaviour.draw)
        except ValueError as error:
            return wire.error(400, str(error))
        reply = fault.spoil(reply) if fault else reply
        cached_tokens = FakeTokenizer().count_tokens([cached_prefix])[0]
        with self._lock:
            self.answered_count += 1
            self._tokens.update(prompt=prompt_tokens, generation=reply.token_count, cached=cached_tokens)
        payload = wire.completion(model.name, reply, prompt_tokens, cached_tokens, is_reasoning=kind == "reasoning")
        if kind == "drop":
            return await _break_off(request, payload)
        return wire.malformed(payload, kind) or web.json_response(payload)

    def _check_key(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "")
        if self._api_key is not None and not hmac.compare_digest(given, f"Bearer {self._api_key}"):
            raise web.HTTPUnauthorized(text='{"error": "Unauthorized"}', content_type="application/json")


async def _break_off(request: web.Request, payload: dict[str, Any]) -> web.StreamResponse:
    data = json.dumps(payload).encode()
    response = web.StreamResponse(headers={"Content-Length": str(len(data)), "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    if request.transport is not None:
        request.transport.abort()
    return response
