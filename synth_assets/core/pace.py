"""Which throughput a bill is computed with, and how far off it may be: measured on this hardware, or the roofline's.

In: choosing between measured rates and the roofline. Out: reading what was measured (`synth_assets.assets.measured`),
and the roofline itself (`throughput`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.gpu_split import possible_splits
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
    """Output tokens per second of the whole hardware, with so many requests in flight, over these requests."""

    source: str
    """The table it stands in."""
    tokens_per_second: float
    concurrency: float
    requests: int
    prompt_tokens: int
    """Computed ones: without those from the server's cache."""
    completion_tokens: int

    def predicted_seconds(self, arch: ModelArchitecture, hardware: Hardware) -> float | None:
        """What the roofline expects these requests to take; None where one of this length does not fit."""
        if not (self.requests and self.completion_tokens):
            return None
        prompt_tokens, completion_tokens = self.prompt_tokens / self.requests, self.completion_tokens / self.requests
        if not possible_splits(arch, hardware, prompt_tokens + completion_tokens):
            return None
        in_flight = max(self.concurrency, 1.0)
        pace = throughput_estimate(arch, hardware, in_flight, prompt_tokens, completion_tokens)
        return self.requests / pace.requests_per_second

    @property
    def seconds(self) -> float:
        """What they took."""
        return self.completion_tokens / self.tokens_per_second


@dataclass(frozen=True)
class Pace:
    """The throughput of a bill. `slowest` and `fastest` are factors on it, at most and at least 1."""

    source: str = ROOFLINE
    reached: float = 1.0
    """As a multiple of what the roofline expects of the lengths and requests in flight at hand."""
    slowest: float = LOW_FACTOR
    fastest: float = HIGH_FACTOR


def choose_pace(rates: Sequence[MeasuredRate], arch: ModelArchitecture, hardware: Hardware, concurrency: float) -> Pace:
    """What the measured rates reached of the roofline, where this hardware can have had them at about this concurrency.

    Each rate is held against the roofline for its own lengths, so that long prompts do not make a server look slow. Of
    the rates of the first source that has any, the times are added up; the range holds all of them.
    """
    comparable: list[tuple[MeasuredRate, float]] = []
    for rate in rates:
        if not 1 / SIMILAR_CONCURRENCY <= rate.concurrency / concurrency <= SIMILAR_CONCURRENCY:
            continue
        predicted = rate.predicted_seconds(arch, hardware)
        if predicted is not None and 1 / MOST_DIFFERENT <= predicted / rate.seconds <= MOST_DIFFERENT:
            comparable.append((rate, predicted))
    chosen = [each for each in comparable if each[0].source == comparable[0][0].source]
    if not chosen:
        return Pace()
    reached = sum(predicted for _, predicted in chosen) / sum(rate.seconds for rate, _ in chosen)
    factors = [predicted / rate.seconds / reached for rate, predicted in chosen]
    return Pace(chosen[0][0].source, reached, min(*factors, 1 / MEASURED_BAND), max(*factors, MEASURED_BAND))
