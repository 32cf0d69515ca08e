"""Tokens a second of a model server at one concurrency, measured with the plain OpenAI client.

In: the measurement and its prompts. Out: MFU, MBU and cost, which need the hardware catalogue. The client is
AsyncOpenAI over aiohttp: of the bare clients the one that costs the measurement least (about 900 requests/s
on one core, where its default transport makes 620).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resources.errors import ServerError

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

_TOPICS = (
    "Explain how gradient descent finds a network's weights, and what too high a learning rate does.",
    "Describe what a transformer's attention layers compute, and why long texts make them costly.",
    "Why does a model that saw more tokens in training often beat a larger one that saw fewer?",
    "Compare dropout and weight decay: what does each do, and when would you choose one of them?",
    "What does a tokenizer do before a language model sees a text, and how does its vocabulary size matter?",
)


@dataclass(frozen=True)
class ThroughputSample:
    """One measurement.

    `tokens_per_second` counts completion tokens over the wall time of all requests together.
    """

    concurrency: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    wall_seconds: float
    tokens_per_second: float


def baseline_prompts(count: int = 5) -> tuple[str, ...]:
    """`count` prompts on machine learning, no two alike from their first words on.

    A server with a prefix cache skips what two prompts have in common, which would flatter the figure.
    """
    return tuple(
        _TOPICS[number] if number < len(_TOPICS) else f"Question {number + 1}. {_TOPICS[number % len(_TOPICS)]}"
        for number in range(count)
    )


def measure_throughput(
    base_url: str,
    model: str,
    prompts: Sequence[str],
    max_tokens: int,
    concurrency: int,
    api_key: str | None = None,
    request_timeout_seconds: float = 600.0,
) -> ThroughputSample:
    """Send every prompt once, `concurrency` at a time, and count what comes back.

    Raises ServerError when any request fails: a figure with holes in it would be no baseline.
    """
    import openai  # 0.8 s, and this module is loaded with the whole graph

    if not prompts or concurrency < 1:
        raise ValueError("a measurement needs at least one prompt and one request in flight")
    run = _measure(base_url, model, prompts, max_tokens, concurrency, api_key, request_timeout_seconds)
    try:
        return asyncio.run(run)
    except ExceptionGroup as failures:
        known = failures.subgroup(openai.OpenAIError)
        if known is None:
            raise
        first = known.exceptions[0]
        raise ServerError(
            f"The throughput at {base_url} could not be measured ({type(first).__name__}: {first}).",
            "Look at the server's log, then materialize serving.baseline again.",
        ) from failures


async def _measure(
    base_url: str,
    model: str,
    prompts: Sequence[str],
    max_tokens: int,
    concurrency: int,
    api_key: str | None,
    request_timeout_seconds: float,
) -> ThroughputSample:
    import openai

    free = asyncio.Semaphore(concurrency)
    async with openai.AsyncOpenAI(
        base_url=base_url,
        # The SDK refuses to start without a key; a server that has none ignores it.
        api_key=api_key or "none",
        # A retried request would count its waiting as the server's time.
        max_retries=0,
        timeout=request_timeout_seconds,
        http_client=openai.DefaultAioHttpClient(timeout=request_timeout_seconds),
    ) as client:

        async def ask(prompt: str) -> ChatCompletion:
            async with free:
                return await client.chat.completions.create(
                    model=model,
                    messages=[{"role": "user", "content": prompt}],
                    max_tokens=max_tokens,
                    temperature=0.7,
                    extra_body={"chat_template_kwargs": {"enable_thinking": False}},
                )

        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(prompt)) for prompt in prompts]
        wall_seconds = time.perf_counter() - started
    usages = [task.result().usage for task in tasks]
    completion_tokens = sum(usage.completion_tokens for usage in usages if usage)
    return ThroughputSample(
        concurrency=concurrency,
        requests=len(prompts),
        prompt_tokens=sum(usage.prompt_tokens for usage in usages if usage),
        completion_tokens=completion_tokens,
        wall_seconds=wall_seconds,
        tokens_per_second=completion_tokens / wall_seconds,
    )
