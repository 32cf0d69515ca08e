"""datatrove's InferenceRunner against an endpoint, which it talks to over sockets of its own on this machine."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.writers import JsonlWriter
from exchange import Options, Request, measure, messages


async def _rollout(document: Document, generate: Any) -> str:
    result = await generate({"messages": document.metadata.pop("messages")})
    return result.text


def _infer(options: Options, requests: list[Request], folder: Path) -> Path:
    documents = (
        Document(text=request["user"], id=request["document_id"], metadata={"messages": messages(request)})
        for request in requests
    )
    config = InferenceConfig(
        server_type="endpoint",
        endpoint_url=options.address,
        model_name_or_path=options.model,
        default_generation_params=options.sampling(),
        max_concurrent_generations=options.in_flight,
    )
    InferenceRunner(_rollout, config, JsonlWriter(str(folder))).run(documents)
    return folder


def _answers(folder: Path) -> int:
    count = 0
    for path in folder.glob("*.jsonl.gz"):
        with gzip.open(path, "rt") as file:
            count += sum(any(json.loads(line)["metadata"]["rollout_results"]) for line in file)
    return count


if __name__ == "__main__":
    measure(_infer, _answers)
