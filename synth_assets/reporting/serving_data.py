"""The serving advice of a lake: the measured rates and the lengths of its requests, put to `core.serving_advice`.

In: finding the rates, the model and the mean request. Out: the advice itself, and measuring (`assets.serving`).
"""

# ruff: noqa: S608 - what is put into SQL is constants of this project; values are parameters.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from resources.inference import ServedModel
from resources.lake import Lake
from synth_assets.core.costing import cost_model
from synth_assets.core.hardware import Hardware
from synth_assets.core.serving_advice import MeasuredRate, RequestShape, ServerSettings, ServingAdvice, advise
from synth_assets.reporting.chart_style import Row
from synth_assets.reporting.data import COMPLETIONS, baseline, rows_of


def serving_advice(
    lake: Lake, hardware: Hardware, current: ServerSettings, model: ServedModel | None = None
) -> ServingAdvice | None:
    """None until the server has been measured. `model` is the served one where it is the one that was measured."""
    measured = baseline(lake)
    if not measured:
        return None
    # The rows are of one measurement; of several models the one with the most levels would be as good.
    name = measured[0]["model"]
    rows = [row for row in measured if row["model"] == name]
    served = model if model is not None and model.name == name else ServedModel(name)
    known = cost_model(served)
    advice = advise(known.architecture, hardware, [_rate(row) for row in rows], _shape(lake, name, rows), current)
    return replace(advice, sentences=(known.warning, *advice.sentences)) if known.warning else advice


def _rate(row: Row) -> MeasuredRate:
    requests = max(row["requests"], 1)
    return MeasuredRate(
        row["concurrency"],
        row["tokens_per_second"],
        row["prompt_tokens"] / requests,
        row["completion_tokens"] / requests,
    )


def _shape(lake: Lake, model: str, measured: Sequence[Row]) -> RequestShape:
    """The mean request that the model has answered; without any, the measurement's own."""
    if lake.has_table(COMPLETIONS):
        [mean] = rows_of(
            lake,
            f"SELECT avg(prompt_tokens) AS prompt, avg(completion_tokens) AS completion FROM {COMPLETIONS} "
            "WHERE model = ?",
            [model],
        )
        if mean["completion"]:
            return RequestShape(mean["prompt"], mean["completion"])
    rate = _rate(measured[-1])
    return RequestShape(rate.prompt_tokens, rate.completion_tokens)
