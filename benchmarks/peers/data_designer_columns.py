"""NeMo Data Designer as its manual shows it: a row is a document, its answer an LLM text or custom async column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import data_designer.config as dd
import data_designer.engine.utils.token_counting as token_counting
import data_designer.interface as interface
import pandas as pd
from data_designer.engine.models.utils import prompt_to_messages
from exchange import Options, Request, measure


def _no_tokenizer() -> Any:
    raise RuntimeError("Tokens are not estimated.")


# Its profile of the table counts tokens with a file from the internet, and stalls where there is none.
token_counting.get_cl100k_base_tokenizer = _no_tokenizer


@dd.custom_column_generator(required_columns=["system", "user"], model_aliases=["rephraser"])
async def answer(row: dict[str, Any], generator_params: None, models: dict[str, Any]) -> dict[str, Any]:
    """One request through the model facade."""
    prompt = prompt_to_messages(user_prompt=row["user"], system_prompt=row["system"])
    response = await models["rephraser"].acompletion(prompt)
    row["answer"] = response.message.content
    return row


def _column(variant: str) -> Any:
    if variant == "custom":
        return dd.CustomColumnConfig(name="answer", generator_function=answer)
    return dd.LLMTextColumnConfig(
        name="answer", prompt="{{ user }}", system_prompt="{{ system }}", model_alias="rephraser"
    )


def _create(options: Options, requests: list[Request], folder: Path) -> Any:
    parameters = dd.ChatCompletionInferenceParams(max_parallel_requests=options.in_flight, **options.sampling())
    model = dd.ModelConfig(
        alias="rephraser",
        model=options.model,
        provider="server",
        inference_parameters=parameters,
        skip_health_check=True,
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=pd.DataFrame(requests)))
    builder.add_column(_column(options.variant))
    designer = interface.DataDesigner(
        artifact_path=folder,
        model_providers=[dd.ModelProvider(name="server", endpoint=f"{options.address}/v1")],
        auto_configure_logging=False,
    )
    # Without the limit on tasks (1,024 by default), 500 requests/s fall to 23.
    designer.set_run_config(
        dd.RunConfig(disable_early_shutdown=True, otel_metrics_port=None, max_in_flight_tasks=options.in_flight)
    )
    return designer.create(builder, num_records=len(requests), dataset_name="peers")


def _answers(result: Any) -> int:
    return int((result.load_dataset()["answer"].str.len() > 0).sum())


if __name__ == "__main__":
    measure(_create, _answers)
