"""distilabel's Pipeline: LoadDataFromDicts, then TextGeneration with OpenAILLM, whose batch is what is in flight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai  # noqa: F401  (distilabel imports it in the process that it forks)
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration
from exchange import Options, Request, measure


def _generate(options: Options, requests: list[Request], folder: Path) -> Any:
    with Pipeline(name="peers", cache_dir=folder) as pipeline:
        rows = [
            {
                "document_id": request["document_id"],
                "instruction": request["user"],
                "system_prompt": request["system"],
            }
            for request in requests
        ]
        load = LoadDataFromDicts(data=rows, batch_size=options.in_flight)
        generate = TextGeneration(
            llm=OpenAILLM(
                model=options.model,
                base_url=f"{options.address}/v1",
                api_key="none",  # pyright: ignore[reportArgumentType]
                generation_kwargs={
                    "temperature": options.temperature,
                    "top_p": options.top_p,
                    "max_new_tokens": options.max_tokens,
                },
            ),
            # A batch is sent at once and waited for as a whole, so it is the only measure of what is in flight.
            input_batch_size=options.in_flight,
            add_raw_input=False,
            add_raw_output=False,
        )
        load >> generate
    return pipeline.run(use_cache=False)["default"]["train"]


def _answers(table: Any) -> int:
    return sum(bool(answer) for answer in table["generation"])


if __name__ == "__main__":
    measure(_generate, _answers)
