"""What the fake server can be told to do: how long it takes, and how and for which requests it goes wrong.

In: value objects and the rules by which a fault strikes. Out: doing it (`resources.fake_server`).
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from resources.fake_answers import FakeAnswer, content_text, cut

FaultKind = Literal[
    "status",  # an HTTP error: `Fault.status`
    "context_overflow",  # vLLM's status 400 for a prompt that is too long
    "cut",  # half the answer, with finish_reason `length`
    "refuse",  # a refusal instead of the answer
    "filtered",  # half the answer, with finish_reason `content_filter`
    "off_schema",  # JSON that follows no schema of ours, with finish_reason `stop`
    "empty",  # content ""
    "reasoning",  # content null beside a reasoning text
    "proxy_page",  # `Fault.status` with a page of HTML
    "not_json",  # status 200 with a page of HTML
    "half_json",  # status 200 with the first half of the body, and no word of it in the headers
    "empty_choices",  # status 200 with `choices: []`
    "json_list",  # status 200 with JSON that is no object
    "no_choices",  # status 200 with JSON that lacks `choices`
    "hang",  # no answer ever
    "drop",  # the connection breaks in the middle of the answer
]

REFUSAL = "I'm sorry, but I can't help with rewriting this text."


@dataclass(frozen=True)
class Fault:
    """One misbehaviour and whom it strikes: all requests, unless the other fields narrow it."""

    kind: FaultKind
    status: int = 500
    retry_after_seconds: float | None = None
    first: int | None = None
    """Only the first n of the requests that match."""
    every: int | None = None
    """Only each k-th of the requests that match."""
    containing: str = ""
    """Only prompts that contain this text."""
    when: Callable[[Mapping[str, Any]], bool] | None = None
    """Only request bodies for which this holds."""

    def matches(self, body: Mapping[str, Any]) -> bool:
        """Whether the request is of the kind that this fault strikes."""
        if self.containing and not any(self.containing in content_text(message) for message in body["messages"]):
            return False
        return self.when is None or self.when(body)

    def strikes(self, ordinal: int) -> bool:
        """Whether the `ordinal`-th matching request (from 1) is struck."""
        if self.first is not None and ordinal > self.first:
            return False
        return self.every is None or ordinal % self.every == 0

    def spoil(self, reply: FakeAnswer) -> FakeAnswer:
        """The answer as this fault leaves it; faults of the transport leave it as it is."""
        match self.kind:
            case "cut":
                short = cut(reply.text, max(1, reply.token_count // 2))
                return FakeAnswer(short.text, "length", short.token_count)
            case "filtered":
                short = cut(reply.text, max(1, reply.token_count // 2))
                return FakeAnswer(short.text, "content_filter", short.token_count)
            case "off_schema":
                return cut('{"unexpected": [1, 2]}', 1000)
            case "refuse":
                return cut(REFUSAL, 1000)
            case "empty":
                return FakeAnswer("", "stop", 0)
        return reply


@dataclass(frozen=True)
class Behaviour:
    """How the server acts: its latency, and its faults, of which the first that strikes a request decides."""

    latency_seconds: float = 0.0
    """Fixed latency, or the median where `latency_sigma` is over 0."""
    latency_sigma: float = 0.0
    """Standard deviation of the logarithm of the latency; a request's latency follows from its content."""
    faults: tuple[Fault, ...] = ()
    draw: int = 0
    """Which of many answers is given to a prompt, as sampling at a temperature would; another number, another text."""

    def latency_of(self, body: Mapping[str, Any]) -> float:
        """Seconds until the answer to this request."""
        if not self.latency_sigma:
            return self.latency_seconds
        rng = random.Random(json.dumps(body["messages"], sort_keys=True))  # noqa: S311 - no secret
        return self.latency_seconds * math.exp(rng.gauss(0.0, self.latency_sigma))


CALM = Behaviour()
"""Answers everything at once."""
