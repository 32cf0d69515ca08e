"""Which throughput a bill goes by: what this hardware was measured to do, if it can have been this hardware."""

from __future__ import annotations

import pytest

from synth_assets.core.hardware import Hardware
from synth_assets.core.models import DENSE_8B
from synth_assets.core.pace import MEASURED_BAND, MeasuredRate, Pace, choose_pace
from synth_assets.core.throughput import throughput_estimate

HARDWARE = Hardware.parse("1xH100-SXM")
IDEAL = throughput_estimate(DENSE_8B, HARDWARE, 64, 600, 300).output_tokens_per_second


def rate(share: float, source: str = "serving.usage", concurrency: float = 64, tokens: int = 1000) -> MeasuredRate:
    return MeasuredRate(source, share * IDEAL, concurrency, tokens)


def chosen(*rates: MeasuredRate) -> Pace:
    return choose_pace(rates, DENSE_8B, HARDWARE, 64, 600, 300)


def test_nothing_measured_leaves_the_roofline_with_its_band():
    assert chosen() == Pace()
    assert Pace().slowest < 1 < Pace().fastest


def test_the_rate_of_another_machine_is_not_that_of_this_hardware():
    assert chosen(rate(0.01)).source == "roofline"
    assert chosen(rate(50)).source == "roofline"


def test_a_rate_at_another_concurrency_says_nothing_about_this_one():
    assert chosen(rate(0.3, concurrency=8)).source == "roofline"
    assert chosen(rate(0.8, concurrency=40)).source == "serving.usage"


def test_purchases_count_before_the_baseline_and_by_their_tokens():
    pace = chosen(rate(0.5, tokens=3000), rate(1.0, tokens=1000), rate(0.9, "serving.baseline"))
    assert pace.source == "serving.usage"
    assert pace.tokens_per_second is not None
    assert pace.tokens_per_second == pytest.approx(IDEAL * 4000 / (3000 / 0.5 + 1000 / 1.0))
    assert [pace.tokens_per_second * factor for factor in (pace.slowest, pace.fastest)] == pytest.approx(
        [0.5 * IDEAL, 1.0 * IDEAL]
    )


def test_one_measurement_alone_still_has_a_band():
    pace = chosen(rate(0.7, "serving.baseline"))
    assert (pace.slowest, pace.fastest) == (1 / MEASURED_BAND, MEASURED_BAND)
