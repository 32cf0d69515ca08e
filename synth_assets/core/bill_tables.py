"""The tables of what was really used: waste, estimates against actual, and the use of the server.

In: names, schemas, version columns, as in `tables`. Out: how rows come about (`waste`, `estimate_errors`,
`utilization`).
"""

from __future__ import annotations

import pyarrow as pa

from synth_assets.core.tables import TableSpec

_S, _I, _F = pa.string(), pa.int64(), pa.float64()


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


WASTE = TableSpec(
    "reports.waste",
    _schema(
        strategy=_S,
        model=_S,
        kind=_S,
        reason=_S,
        requests=_I,
        prompt_tokens=_I,
        completion_tokens=_I,
        gpu_hours=_F,
        cost_usd=_F,
    ),
    ("strategy", "model", "kind", "reason", "requests", "prompt_tokens", "completion_tokens", "cost_usd"),
    "Calls of one strategy and model that the training data has nothing of: `failed`, `dropped` and `superseded` ones, "
    "and those that were `cut`, of which the text keeps what was whole.",
)

ESTIMATES = TableSpec(
    "reports.estimates",
    _schema(
        strategy=_S,
        model=_S,
        answers_before=_I,
        requests=_I,
        estimated_completion_tokens=_I,
        completion_tokens=_I,
        estimated_prompt_tokens=_I,
        prompt_tokens=_I,
        relative_error=_F,
    ),
    ("strategy", "model", "answers_before", "requests", "estimated_completion_tokens", "completion_tokens"),
    "Estimate against actual for the requests of one strategy and model that were planned while the ledger held "
    "`answers_before` of their answers or more.",
)

USAGE = TableSpec(
    "serving.usage",
    _schema(
        started_at=pa.timestamp("us", tz="UTC"),
        model=_S,
        base_urls=_S,
        hardware=_S,
        requests=_I,
        prompt_tokens=_I,
        cached_prompt_tokens=_I,
        completion_tokens=_I,
        wall_seconds=_F,
        mean_in_flight=_F,
        tokens_per_second=_F,
        mfu=_F,
        mbu=_F,
        utilization_source=_S,
    ),
    ("started_at", "model", "requests", "prompt_tokens", "completion_tokens"),
    "One purchase: what was asked and answered, how fast, and which share of the hardware's peak that is. "
    "`utilization_source` is `server` where the server counts FLOPs and bytes itself, else `computed`.",
)
