"""One call of a Data Designer model facade: the request as the server gets it, the answer, or what kind of failure.

In: the translation in both directions, and how often each kind of failure is tried again. Out: many calls at once
(`resources.lanes`) and the engine that makes the facades (`resources.data_designer_generator`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import httpx

from resources.inference import ChatMessage, Completion, CompletionRequest, ErrorKind, FinishReason

CONNECT_TIMEOUT_SECONDS = 10.0
"""A host that swallows packets is found out within this time, however long an answer may take."""


@dataclass(frozen=True)
class RetryPolicy:
    """When a failed request is sent again, and when it is given up."""

    request_timeout_seconds: float = 600.0
    """An answer may take this long; a 600-token answer at 2 tokens/s takes 300 s."""
    give_up_after_seconds: float = 300.0
    """A server that gives nothing but failures for this long is given up, and with it all requests meant for it."""
    server_error_attempts: int = 3
    """Attempts of a request that gets a status 500 or a malformed body."""
    timeout_attempts: int = 2
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0

    def attempts_left(self, kind: ErrorKind, failures: int) -> bool:
        """Whether a request may be sent again after so many failures of this kind; waiting for a server counts none."""
        if kind in FINAL_KINDS or kind in HOPELESS_KINDS:
            return False
        if kind in ("server_error", "malformed"):
            return failures < self.server_error_attempts
        return kind != "timeout" or failures < self.timeout_attempts


FINAL_KINDS: frozenset[ErrorKind] = frozenset({"context_overflow", "bad_request"})
"""Failures that are the request's own: the server works, and another attempt would fail alike."""

HOPELESS_KINDS: frozenset[ErrorKind] = frozenset({"unauthorized", "not_served"})
"""Failures that every request to this server would share until a setting is corrected: it is given up at once."""


class CallError(Exception):
    """A call without an answer. `retry_after_seconds` is what the server asked for, or 0."""

    def __init__(self, kind: ErrorKind, message: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.retry_after_seconds = retry_after_seconds


DEFAULT_RETRY = RetryPolicy()


@dataclass(frozen=True)
class _PlainMessage:
    """What the facade takes for a message. Its own class turns every text into a list of blocks, which servers with
    a plain-text chat template have to undo."""

    message: ChatMessage

    def to_dict(self) -> dict[str, str]:
        return {"role": self.message.role, "content": self.message.content}


async def complete(facade: Any, request: CompletionRequest, policy: RetryPolicy) -> Completion:
    """Send a request once through a model facade. Raises CallError; `wall_seconds` includes the engine's throttling."""
    started = time.monotonic()
    try:
        response = await facade.acompletion(
            [_PlainMessage(message) for message in request.messages],
            skip_usage_tracking=True,
            temperature=request.sampling.temperature,
            top_p=request.sampling.top_p,
            max_tokens=request.sampling.max_tokens,
            # httpx takes the four phases apart: connect, read, write, and waiting for a connection of the pool.
            timeout=(CONNECT_TIMEOUT_SECONDS, *(policy.request_timeout_seconds,) * 3),
            **_response_format(request),
            # Thinking is switched off through the chat template where the model has it; others ignore the argument.
            extra_body={"chat_template_kwargs": {"enable_thinking": False}},
        )
        return _completion_of(request.request_key, response, time.monotonic() - started)
    except CallError:
        raise
    except Exception as error:
        raise _failure_of(error) from error


def _response_format(request: CompletionRequest) -> dict[str, Any]:
    if request.response_schema is None:
        return {}
    schema = json.loads(request.response_schema)
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


def _completion_of(request_key: str, response: Any, wall_seconds: float) -> Completion:
    raw = response.raw if isinstance(response.raw, Mapping) else {}
    # The engine invents an empty choice where the body has none.
    if not raw.get("choices"):
        raise CallError("malformed", "The server's answer holds no choices.")
    choice = response.choices[0]
    usage = raw.get("usage") or {}
    return Completion(
        request_key=request_key,
        text=choice.message.content or "",
        finish_reason=choice.finish_reason if choice.finish_reason in get_args(FinishReason) else "unknown",
        prompt_tokens=usage.get("prompt_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
        cached_prompt_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        wall_seconds=wall_seconds,
    )


_KINDS: dict[str, ErrorKind] = {
    "context_window_exceeded": "context_overflow",
    "rate_limit": "rate_limited",
    "timeout": "timeout",
    "api_connection": "unreachable",
    "internal_server": "server_error",
    "api_error": "malformed",
    "authentication": "unauthorized",
    "permission_denied": "unauthorized",
    "not_found": "not_served",
}
"""From the engine's error kinds; every other one is a 4xx, final for the request."""

_NO_SERVER_BEHIND_PROXY = (502, 503, 504)

_REMEDIES: dict[ErrorKind, str] = {
    "unauthorized": " Set VLLM_API_KEY (JUDGE_API_KEY for a judge on a server of its own) to a key that it accepts.",
    "not_served": " Set VLLM_MODEL (JUDGE_MODEL) to a model that it serves and VLLM_BASE_URL (JUDGE_BASE_URL) to its "
    "OpenAI address, which usually ends in /v1.",
}
_LONGEST_MESSAGE_CHARS = 300
"""Enough for any server's reason; a proxy's error page goes on for kilobytes."""


def _failure_of(error: Exception) -> CallError:
    """Classify what the facade raised: its ProviderError, or anything that a strange body broke in its parser."""
    if isinstance(error, TimeoutError):
        return CallError("timeout", f"No answer in time: {error}")
    engine_kind = getattr(error, "kind", None)
    if engine_kind is None:
        return CallError("malformed", f"The server's answer could not be read: {type(error).__name__}: {error}")
    status = getattr(error, "status_code", None) or 0
    kind = _KINDS.get(str(engine_kind.value), "bad_request")
    if isinstance(error.__cause__, httpx.ConnectTimeout) or status in _NO_SERVER_BEHIND_PROXY:
        kind = "unreachable"
    elif 300 <= status < 400:
        kind = "not_served"
    elif status == 413:
        # The engine takes it for a prompt beyond the context, which would be kept for ever; it is a proxy's limit.
        kind = "bad_request"
    elif status == 429:
        # Also where the text speaks of a quota, which the engine takes for final.
        kind = "rate_limited"
    prefix = f"HTTP {status}: " if status else ""
    reason = " ".join(str(error).split())[:_LONGEST_MESSAGE_CHARS] or type(error.__cause__ or error).__name__
    return CallError(kind, f"{prefix}{reason}{_REMEDIES.get(kind, '')}", _retry_after(error))


def _retry_after(error: Exception) -> float:
    seconds = getattr(error, "retry_after", None)
    return max(0.0, float(seconds)) if seconds else 0.0
