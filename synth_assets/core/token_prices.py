"""What one token of a bill costs, so that a part of the bill (what was cut, what was cached) has a price.

In: sharing out a bill between prompt and completion tokens. Out: the bill itself (`cost`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from resources.inference import ErrorKind
from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.cost import DEFAULT_CONCURRENCY
from synth_assets.core.hardware import Hardware
from synth_assets.core.throughput import throughput_estimate

WORKED_ON: Final[tuple[ErrorKind, ...]] = ("timeout", "server_error", "malformed")
"""Failures of which the server has read the prompt. The others were refused at the door or never got there."""


@dataclass(frozen=True)
class TokenPrices:
    """GPU-hours of one computed prompt token and of one completion token: parts of a bill add up to the whole."""

    prompt_gpu_hours: float
    completion_gpu_hours: float

    def gpu_hours(self, prompt_tokens: float, completion_tokens: float) -> float:
        """GPU-hours of so many tokens; prompt tokens from the server's cache are not to be counted."""
        return prompt_tokens * self.prompt_gpu_hours + completion_tokens * self.completion_gpu_hours


def token_prices(
    arch: ModelArchitecture,
    hardware: Hardware,
    requests: int,
    prompt_tokens: int,
    completion_tokens: int,
    concurrency: float = DEFAULT_CONCURRENCY,
    reached: float = 1.0,
) -> TokenPrices:
    """The prices at which `estimate`'s bill for these totals is shared out by the time that each kind of token takes.

    Raises SettingError when the model does not fit the hardware.
    """
    if not requests or not (prompt_tokens or completion_tokens):
        return TokenPrices(0.0, 0.0)
    in_flight = min(concurrency, requests)
    return prices_in_flight(arch, hardware, in_flight, prompt_tokens / requests, completion_tokens / requests, reached)


def prices_in_flight(
    arch: ModelArchitecture,
    hardware: Hardware,
    in_flight: float,
    prompt_tokens: float,
    completion_tokens: float,
    reached: float = 1.0,
) -> TokenPrices:
    """The prices while so many requests of that mean length are in flight: the time that each kind of token takes.

    Raises SettingError when the model does not fit the hardware.
    """
    pace = throughput_estimate(arch, hardware, in_flight, prompt_tokens, completion_tokens)
    gpu_hours_per_second = hardware.count / 3600 / reached
    return TokenPrices(
        gpu_hours_per_second * pace.prefill_seconds_per_request / prompt_tokens if prompt_tokens else 0.0,
        gpu_hours_per_second * pace.decode_seconds_per_token if completion_tokens else 0.0,
    )
