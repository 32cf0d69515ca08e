"""The throughput that this hardware was measured to have with a model, and the pace of a bill that follows from it.

In: `serving.usage` and `serving.baseline`, where they are there. Out: choosing among the rates (`core.pace`), measuring
them (`serving`, purchases), and the bill itself (`core.bill`).
"""

from __future__ import annotations

import math

from resources.inference import ServedModel
from resources.lake import Lake
from synth_assets.core.bill import BillModels, Load
from synth_assets.core.budget import TYPICAL_COMPLETION_TOKENS, TYPICAL_PROMPT_TOKENS, typical_prices
from synth_assets.core.costing import cost_model
from synth_assets.core.gpu_split import holding
from synth_assets.core.hardware import Hardware
from synth_assets.core.pace import MeasuredRate, Pace, choose_pace
from synth_assets.core.token_prices import TokenPrices
from synth_assets.settings import Settings

USAGE = "serving.usage"
BASELINE = "serving.baseline"

LATEST_PURCHASES = 20
"""Older ones tell of other versions and options of the server."""

LEAST_SECONDS = 60.0
"""A shorter purchase is mostly start and end, when few requests are in flight."""


def measured_rates(lake: Lake, model: str, hardware: Hardware, servers: int) -> list[MeasuredRate]:
    """Rates of this model on this hardware: of the latest long purchases first, then of the baseline.

    The baseline asks one of the servers, the others are taken to do as much.
    """
    rates = []
    if lake.has_table(USAGE):
        statement = f"""
            SELECT tokens_per_second, mean_in_flight, requests,
                prompt_tokens - coalesce(cached_prompt_tokens, 0), completion_tokens
            FROM {USAGE}
            WHERE model = ? AND hardware = ? AND wall_seconds >= ? AND tokens_per_second > 0
            ORDER BY started_at DESC LIMIT {LATEST_PURCHASES}
        """  # noqa: S608
        for row in lake.query(statement, [model, hardware.name, LEAST_SECONDS]).to_pylist():
            rates.append(MeasuredRate(USAGE, *row.values()))
    if lake.has_table(BASELINE):
        statement = f"""
            SELECT tokens_per_second, concurrency, requests, prompt_tokens, completion_tokens FROM {BASELINE}
            WHERE model = ? AND hardware = ? AND tokens_per_second > 0
        """  # noqa: S608
        for row in lake.query(statement, [model, hardware.name]).to_pylist():
            rate, concurrency, *tokens = row.values()
            rates.append(MeasuredRate(BASELINE, rate * servers, concurrency * servers, *tokens))
    return rates


def pace_of(lake: Lake, model: ServedModel | None, hardware: Hardware, concurrency: float, servers: int = 1) -> Pace:
    """The pace of bills for this model; the roofline's where none was measured."""
    if model is None:
        return Pace()
    rates = measured_rates(lake, model.name, hardware, servers)
    return choose_pace(rates, cost_model(model).architecture, hardware, concurrency) if rates else Pace()


def prices_of(
    lake: Lake,
    model: ServedModel | None,
    hardware: Hardware,
    concurrency: float,
    limit_gpu_hours: float = math.inf,
    servers: int = 1,
) -> TokenPrices:
    """What a token of this model costs, at the pace of its bills, in a run with that limit.

    As in the bill, a model that does not fit the hardware has as many of its GPUs as it needs. Raises SettingError
    where no number of them holds it.
    """
    arch = cost_model(model).architecture
    own = holding(arch, hardware, TYPICAL_PROMPT_TOKENS + TYPICAL_COMPLETION_TOKENS)
    pace = pace_of(lake, model, own, concurrency, servers)
    return typical_prices(arch, own, concurrency, pace.reached, limit_gpu_hours)


def bill_models(lake: Lake, settings: Settings, rephraser: ServedModel | None, judge: ServedModel | None) -> BillModels:
    """The models of the bill, each priced as in the plan: with the requests in flight, and at the pace, of its part."""

    def load(model: ServedModel, hardware: Hardware) -> Load:
        is_judge = (
            judge is not None and model.name == judge.name and (rephraser is None or model.name != rephraser.name)
        )
        in_flight = settings.judge_requests_in_flight if is_judge else settings.requests_in_flight
        servers = settings.judge_server_count if is_judge else settings.server_count
        return Load(in_flight, pace_of(lake, model, hardware, in_flight, servers).reached)

    return BillModels([rephraser, judge], load)
