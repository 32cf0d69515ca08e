"""Bespoke Curator's LLM, online, against an OpenAI-compatible server, with its cache off."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

_LITELLM = importlib.util.find_spec("litellm").submodule_search_locations[0]
# It counts tokens with a file from the internet, of which litellm, among its requirements, brings a copy.
os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(_LITELLM, "litellm_core_utils", "tokenizers"))

from bespokelabs import curator  # noqa: E402
from datasets import Dataset  # noqa: E402
from exchange import Options, Request, measure, messages  # noqa: E402

_NO_LIMIT = 10**9
"""Its own limits are 200 requests and 100,000 tokens a minute where the server's headers name none."""


class Rephraser(curator.LLM):
    """Takes a request apart and keeps the answer beside its document."""

    def prompt(self, input: dict[str, str]) -> list[dict[str, str]]:
        """The chat messages."""
        return messages(input)

    def parse(self, input: dict[str, str], response: str) -> dict[str, str]:
        """One row of the result."""
        return {"document_id": input["document_id"], "answer": response}


def _rephrase(options: Options, requests: list[Request], folder: Path) -> Dataset:
    llm = Rephraser(
        model_name=options.model,
        backend="openai",
        generation_params=options.sampling(),
        backend_params={
            "base_url": f"{options.address}/v1",
            "api_key": "none",
            "max_concurrent_requests": options.in_flight,
            "max_requests_per_minute": _NO_LIMIT,
            "max_tokens_per_minute": _NO_LIMIT,
        },
    )
    return llm(Dataset.from_list(requests), working_dir=str(folder)).dataset


def _answers(rows: Dataset) -> int:
    return sum(bool(answer) for answer in rows["answer"])


if __name__ == "__main__":
    measure(_rephrase, _answers)
