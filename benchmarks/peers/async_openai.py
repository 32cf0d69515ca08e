"""AsyncOpenAI alone, over aiohttp (the bare client) or its default transport; the answers are thrown away."""

from __future__ import annotations

import asyncio
from pathlib import Path

from exchange import Options, Request, measure
from workbench.bare_client import bare_client

from resources.inference import ChatMessage, CompletionRequest, SamplingParams


def _send(options: Options, requests: list[Request], _folder: Path) -> int:
    sampling = SamplingParams(options.temperature, options.top_p, options.max_tokens)
    wanted = [
        CompletionRequest(
            request["document_id"],
            (ChatMessage("system", request["system"]), ChatMessage("user", request["user"])),
            sampling,
        )
        for request in requests
    ]
    has_default_transport = options.variant == "default transport"
    asyncio.run(bare_client(options.address, wanted, options.in_flight, has_default_transport))
    # It raises at the first request without an answer.
    return len(wanted)


if __name__ == "__main__":
    measure(_send, int)
