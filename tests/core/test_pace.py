"""Which throughput a bill goes by: what this hardware was measured to do, if it can have been this hardware."""

from __future__ import annotations

import pytest

from synth_assets.core.hardware import Hardware
from synth_assets.core.models import DENSE_8B
from synth_assets.core.pace import MEASURED_BAND, MeasuredRate, Pace, choose_pace
from synth_assets.core.throughput import throughput_estimate

HARDWARE = Hardware.parse("1xH100-SXM")


def rate(
    share: float,
    source: str = "serving.usage",
    concurrency: float = 64,
    requests: int = 10,
    prompt_tokens: int = 600,
    completion_tokens: int = 300,
) -> MeasuredRate:
    """Requests of these lengths that reached that share of the roofline."""
    pace = throughput_estimate(DENSE_8B, HARDWARE, max(concurrency, 1), prompt_tokens, completion_tokens)
    tokens = (requests * prompt_tokens, requests * completion_tokens)
    return MeasuredRate(source, share * pace.output_tokens_per_second, concurrency, requests, *tokens)


def chosen(*rates: MeasuredRate) -> Pace:
    return choose_pace(rates, DENSE_8B, HARDWARE, 64)


def test_nothing_measured_leaves_the_roofline_with_its_band():
    assert chosen() == Pace()
    assert Pace().slowest < 1 < Pace().fastest


def test_the_rate_of_another_machine_is_not_that_of_this_hardware():
    assert chosen(rate(0.01)).source == "roofline"
    assert chosen(rate(50)).source == "roofline"


def test_a_rate_at_another_concurrency_says_nothing_about_this_one():
    assert chosen(rate(0.3, concurrency=8)).source == "roofline"
    assert chosen(rate(0.8, concurrency=40)).source == "serving.usage"


def test_purchases_count_before_the_baseline_and_by_the_time_they_took():
    pace = chosen(rate(0.5, requests=30), rate(1.0, requests=10), rate(0.9, "serving.baseline"))
    assert pace.source == "serving.usage"
    assert pace.reached == pytest.approx(4 / (3 / 0.5 + 1 / 1.0))
    assert [pace.reached * factor for factor in (pace.slowest, pace.fastest)] == pytest.approx([0.5, 1.0])


def test_one_measurement_alone_still_has_a_band():
    pace = chosen(rate(0.7, "serving.baseline"))
    assert (pace.slowest, pace.fastest) == (1 / MEASURED_BAND, MEASURED_BAND)


def test_a_server_that_was_measured_with_long_prompts_is_not_taken_to_be_slow():
    pace = chosen(rate(0.8, prompt_tokens=3000, completion_tokens=50))
    assert pace.reached == pytest.approx(0.8)


def test_requests_that_say_nothing_or_do_not_fit_are_left_out():
    nothing = MeasuredRate("serving.usage", 1.0, 64, 0, 0, 0)
    unreported = MeasuredRate("serving.usage", 1.0, 64, 10, 6000, 0)
    too_long = MeasuredRate("serving.usage", 1.0, 64, 1, 10_000_000, 300)
    assert chosen(nothing, unreported, too_long) == Pace()
    assert chosen(too_long, rate(0.6)).reached == pytest.approx(0.6)
