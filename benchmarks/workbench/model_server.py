"""A model server that costs next to nothing: one canned Markdown answer after a latency that was asked for.

In: the routes that a run uses, and how many requests were in flight over time (`/stats`). Out: anything that a test
needs (`resources.testing`): that server reads every prompt, which costs more than the clients that are measured here.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import time

import click
from aiohttp import web

from workbench.prose import sentence

_DOCUMENT = re.compile(rb"Weather record \d+")


def _answer(chars: int) -> str:
    """Markdown of that length in which no ten words come twice: what repeats itself is dropped, not written."""
    drawn = random.Random(7)
    parts: list[str] = []
    while sum(map(len, parts)) < chars:
        sentences = [sentence(drawn) for _ in range(6)]
        parts.append(f"## Part {len(parts)}\n\n" + " ".join(f"**{text}** {len(text)} times." for text in sentences))
    return "\n\n".join(parts)[:chars]


ANSWER = _answer(2048)


class ModelServer:
    """Answers after `latency_seconds`, the median where `sigma` (of a log-normal distribution) is over 0."""

    def __init__(self, latency_seconds: float, sigma: float, model_root: str, answer: str = ANSWER) -> None:
        self._completion = _completion(answer)
        self._latency_seconds = latency_seconds
        self._sigma = sigma
        self._model_root = model_root
        self.reset()

    def reset(self) -> None:
        """Forget what was counted."""
        self.requests = self.in_flight = 0
        self._area = 0.0
        self._first = self._last = self._changed = 0.0

    def _step(self, change: int) -> None:
        now = time.monotonic()
        self._first = self._first or now
        self._area += self.in_flight * (now - (self._changed or now))
        self._changed = self._last = now
        self.in_flight += change

    async def chat(self, request: web.Request) -> web.Response:
        """One completion."""
        body = await request.read()
        self.requests += 1
        self._step(1)
        latency = self._latency_seconds
        if self._sigma:
            # By the document, not by the bytes: clients that write their JSON differently meet the same latencies.
            number = _DOCUMENT.search(body)
            latency *= math.exp(random.Random(number[0] if number else body).gauss(0.0, self._sigma))
        await asyncio.sleep(latency)
        self._step(-1)
        return web.Response(body=self._completion, content_type="application/json")

    async def models(self, _request: web.Request) -> web.Response:
        """The one model."""
        card = {"id": "bench-model", "object": "model", "root": self._model_root, "max_model_len": 8192}
        return web.json_response({"object": "list", "data": [card]})

    async def stats(self, request: web.Request) -> web.Response:
        """Requests, and how many were in flight on average between the first and the last event; `reset=1` forgets."""
        seconds = self._last - self._first
        found = {
            "requests": self.requests,
            "seconds": seconds,
            "mean_in_flight": self._area / seconds if seconds else 0.0,
        }
        if "reset" in request.query:
            self.reset()
        return web.json_response(found)


def _completion(answer: str) -> bytes:
    message = {"role": "assistant", "content": answer}
    usage = {"prompt_tokens": 600, "completion_tokens": 450, "total_tokens": 1050}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "bench-model"}
    return json.dumps({**whole, "choices": choices, "usage": usage}).encode()


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response()


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--latency-seconds", type=float, default=0.0)
@click.option("--sigma", type=float, default=0.0)
@click.option("--answer-chars", type=click.IntRange(1, len(ANSWER)), default=len(ANSWER))
@click.option("--model-root", default="bench/model", help="Folder of the model whose tokenizer the clients use.")
def main(port: int, latency_seconds: float, sigma: float, answer_chars: int, model_root: str) -> None:
    """Serve on 127.0.0.1 until killed."""
    server = ModelServer(latency_seconds, sigma, model_root, ANSWER[:answer_chars])
    app = web.Application(client_max_size=2**26)
    app.add_routes(
        [
            web.post("/v1/chat/completions", server.chat),
            web.get("/v1/models", server.models),
            web.get("/stats", server.stats),
            web.get("/health", _healthy),
        ]
    )
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None, backlog=2048)


if __name__ == "__main__":
    main()
