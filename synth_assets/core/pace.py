"""Which throughput a bill is computed with, and how far off it may be: measured on this hardware, or the roofline's.

In: choosing between measured rates and the roofline. Out: reading what was measured (`synth_assets.assets.measured`),
and the roofline itself (`throughput`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.hardware import Hardware
from synth_assets.core.throughput import HIGH_FACTOR, LOW_FACTOR, throughput_estimate

ROOFLINE = "roofline"
MEASURED_BAND = 1.1
"""A measured rate is at least so far off, both ways: two runs on one server differ by some percent."""

MOST_DIFFERENT = 10.0
"""A measured rate that differs from the roofline's by more is of other hardware than costs are computed for, such as
the embedded server's: a CPU makes a hundredth of it."""

SIMILAR_CONCURRENCY = 2.0
"""Rates at less than half or more than twice the requests in flight say little about this one."""


@dataclass(frozen=True)
class MeasuredRate:
    """Output tokens per second of the whole hardware, with so many requests in flight."""

    source: str
    """The table it stands in."""
    tokens_per_second: float
    concurrency: float
    completion_tokens: int
    """Its weight beside others."""


@dataclass(frozen=True)
class Pace:
    """The throughput of a bill. `slowest` and `fastest` are factors on it, at most and at least 1."""

    source: str = ROOFLINE
    tokens_per_second: float | None = None
    """None: by the roofline, for the lengths at hand."""
    slowest: float = LOW_FACTOR
    fastest: float = HIGH_FACTOR


def choose_pace(
    rates: Sequence[MeasuredRate],
    arch: ModelArchitecture,
    hardware: Hardware,
    concurrency: float,
    prompt_tokens: float,
    completion_tokens: float,
) -> Pace:
    """The mean of the measured rates that this hardware can have had at about this concurrency, else the roofline.

    Rates of the first source that has any count, weighted by their tokens; the range holds all of them. Raises
    SettingError when the model does not fit the hardware.
    """
    if not rates:
        return Pace()
    ideal = throughput_estimate(arch, hardware, concurrency, prompt_tokens, completion_tokens).output_tokens_per_second

    def is_comparable(rate: MeasuredRate) -> bool:
        is_similar = 1 / SIMILAR_CONCURRENCY <= rate.concurrency / concurrency <= SIMILAR_CONCURRENCY
        return is_similar and 1 / MOST_DIFFERENT <= rate.tokens_per_second / ideal <= MOST_DIFFERENT

    comparable = [rate for rate in rates if rate.completion_tokens > 0 and is_comparable(rate)]
    chosen = [rate for rate in comparable if rate.source == comparable[0].source]
    if not chosen:
        return Pace()
    tokens = sum(rate.completion_tokens for rate in chosen)
    seconds = sum(rate.completion_tokens / rate.tokens_per_second for rate in chosen)
    mean = tokens / seconds
    measured = [rate.tokens_per_second / mean for rate in chosen]
    return Pace(chosen[0].source, mean, min(*measured, 1 / MEASURED_BAND), max(*measured, MEASURED_BAND))
