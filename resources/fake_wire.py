"""The JSON and Prometheus shapes of vLLM's routes, as vLLM 0.32 writes them.

In: shapes. Out: what stands in them and when they are sent (`resources.fake_server`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from resources.fake_answers import FakeAnswer
from resources.inference import ServedModel


def model_list(models: Sequence[ServedModel]) -> dict[str, Any]:
    """Body of `GET /v1/models`."""
    cards = [
        {
            "id": model.name,
            "object": "model",
            "created": 1_700_000_000,
            "owned_by": "vllm",
            "root": model.root or model.name,
            "parent": None,
            "max_model_len": model.max_model_len,
        }
        for model in models
    ]
    return {"object": "list", "data": cards}


def completion(
    model: str, reply: FakeAnswer, prompt_tokens: int, cached_tokens: int, *, is_reasoning: bool
) -> dict[str, Any]:
    """Body of an answered `POST /v1/chat/completions`; `is_reasoning` puts the text where reasoning goes."""
    message = {"role": "assistant", "content": reply.text, "reasoning_content": None}
    if is_reasoning:
        message |= {"content": None, "reasoning_content": reply.text}
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": reply.token_count,
            "total_tokens": prompt_tokens + reply.token_count,
            "prompt_tokens_details": {"cached_tokens": cached_tokens},
        },
    }


def requested_schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The JSON schema that a request wants its answer to follow."""
    response_format = body.get("response_format") or {}
    if response_format.get("type") != "json_schema":
        return None
    return response_format["json_schema"]["schema"]


def error(status: int, message: str, retry_after_seconds: float | None = None) -> web.Response:
    """An error response."""
    kinds = {400: "BadRequestError", 404: "NotFoundError", 429: "RateLimitError"}
    body = {
        "message": message,
        "type": kinds.get(status, "InternalServerError"),
        "param": None,
        "code": status,
    }
    headers = {} if retry_after_seconds is None else {"Retry-After": f"{retry_after_seconds:g}"}
    return web.json_response({"error": body}, status=status, headers=headers)


def proxy_page(status: int) -> web.Response:
    """The page that a proxy shows instead of the server's answer."""
    text = f"<html><head><title>{status}</title></head><body>A proxy speaks.</body></html>"
    return web.Response(status=status, text=text, content_type="text/html")


def malformed(payload: Mapping[str, Any], kind: str | None) -> web.Response | None:
    """The completion as a fault of this kind leaves its body; None where the fault leaves it whole."""
    match kind:
        case "not_json":
            return proxy_page(200)
        case "half_json":
            text = json.dumps(payload)
            return web.Response(text=text[: len(text) // 2], content_type="application/json")
        case "no_choices":
            return web.json_response({key: value for key, value in payload.items() if key != "choices"})
        case "empty_choices":
            return web.json_response({**payload, "choices": []})
        case "json_list":
            return web.json_response([payload])
    return None


def context_overflow(limit: int, prompt_tokens: int, max_tokens: int) -> web.Response:
    """The error response to a request that does not fit into the model's context."""
    return error(
        400,
        f"This model's maximum context length is {limit} tokens. However, you requested {max_tokens} output tokens "
        f"and your prompt contains {prompt_tokens} input tokens. Please reduce the length of the input.",
    )


def metrics(model: str, running: int, tokens: Mapping[str, int], flops_per_token: int = 0) -> str:
    """Body of `GET /metrics`; `tokens` has `prompt`, `generation` and `cached`, 0 where absent.

    With `flops_per_token` there are the counters of `--enable-mfu-metrics` as well, with a byte read for each FLOP.
    """
    values = {
        "num_requests_running": ("gauge", running),
        "num_requests_waiting": ("gauge", 0),
        "prompt_tokens_total": ("counter", tokens.get("prompt", 0)),
        "generation_tokens_total": ("counter", tokens.get("generation", 0)),
        "prefix_cache_queries_total": ("counter", tokens.get("prompt", 0)),
        "prefix_cache_hits_total": ("counter", tokens.get("cached", 0)),
    }
    if flops_per_token:
        flops = flops_per_token * sum(tokens.get(name, 0) for name in ("prompt", "generation"))
        values["estimated_flops_per_gpu_total"] = ("counter", flops)
        values["estimated_read_bytes_per_gpu_total"] = ("counter", flops)
        values["estimated_write_bytes_per_gpu_total"] = ("counter", 0)
    labels = f'{{engine="0",model_name="{model}"}}'
    lines = []
    for name, (kind, value) in values.items():
        family = name.removesuffix("_total")
        lines += [f"# HELP vllm:{family} {family}", f"# TYPE vllm:{family} {kind}"]
        lines.append(f"vllm:{name}{labels} {float(value)}")
    return "\n".join(lines) + "\n"
