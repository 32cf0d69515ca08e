"""The bare client: AsyncOpenAI that sends requests as fast as it can and throws the answers away.

In: sending and counting. Out: which requests, and what they are compared with.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import openai

from resources.inference import CompletionRequest


async def bare_client(
    address: str,
    requests: Sequence[CompletionRequest],
    in_flight: int,
    has_default_transport: bool = False,
    model: str = "bench-model",
) -> float:
    """Seconds for all requests, over aiohttp, the fastest transport it has, or over its default one."""
    waiting = iter(requests)
    async with openai.AsyncOpenAI(
        base_url=f"{address}/v1",
        api_key="none",
        max_retries=0,
        http_client=None if has_default_transport else openai.DefaultAioHttpClient(),
    ) as client:

        async def worker() -> None:
            for request in waiting:
                messages = [{"role": message.role, "content": message.content} for message in request.messages]
                await client.chat.completions.create(
                    model=model,
                    messages=messages,  # pyright: ignore[reportArgumentType]
                    temperature=request.sampling.temperature,
                    top_p=request.sampling.top_p,
                    max_tokens=request.sampling.max_tokens,
                )

        started = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(in_flight)))
        return time.perf_counter() - started
