"""MFU and MBU of a purchase, counted by the server or computed from tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from synth_assets.core.hardware import Hardware
from synth_assets.core.models import find
from synth_assets.core.utilization import PurchaseUsage, computed_utilization, counted_utilization

LLAMA = find("Llama-3.1-8B")
ONE, FOUR = Hardware.parse("H100-SXM"), Hardware.parse("4xH100-SXM")
USAGE = PurchaseUsage(
    requests=1000, prompt_tokens=600_000, cached_prompt_tokens=100_000, completion_tokens=200_000, wall_seconds=100.0,
    request_seconds=6400.0,
)  # fmt: skip


def test_pace_and_requests_in_flight_come_from_the_clock() -> None:
    assert USAGE.tokens_per_second == 2000
    assert USAGE.mean_in_flight == 64


def test_a_purchase_without_a_moment_has_no_pace() -> None:
    instant = replace(USAGE, wall_seconds=0.0)
    assert (instant.tokens_per_second, instant.mean_in_flight) == (0.0, 0.0)
    assert computed_utilization(LLAMA, ONE, instant).mfu is None


def test_counted_work_is_a_share_of_one_gpus_peak_however_many_there_are() -> None:
    flops, moved = 0.25 * 989e12 * 10, 0.5 * 3.35e12 * 10
    for hardware in (ONE, FOUR):
        found = counted_utilization(hardware, 2.0, flops, moved, 10.0)
        assert (found.mfu, found.mbu, found.source) == (pytest.approx(0.25), pytest.approx(0.5), "server")


def test_counted_work_in_eight_bits_is_held_against_the_peak_for_eight_bits() -> None:
    assert counted_utilization(ONE, 1.0, 1979e12, 0.0, 1.0).mfu == pytest.approx(1.0)


def test_computed_mfu_counts_every_token_that_the_model_went_through() -> None:
    found = computed_utilization(LLAMA, ONE, USAGE)
    assert found.source == "computed"
    assert found.mfu == pytest.approx(2 * LLAMA.active_params * 700_000 / 100 / 989e12, rel=0.01)
    all_cached = computed_utilization(LLAMA, ONE, replace(USAGE, cached_prompt_tokens=600_000))
    assert all_cached.mfu is not None
    assert found.mfu is not None
    assert all_cached.mfu < found.mfu


def test_computed_mbu_falls_with_the_sequences_that_share_one_reading_of_the_weights() -> None:
    alone = computed_utilization(LLAMA, ONE, replace(USAGE, request_seconds=100.0)).mbu
    together = computed_utilization(LLAMA, ONE, USAGE).mbu
    assert alone is not None
    assert together is not None
    assert alone > 10 * together > 0


def test_an_unknown_model_leaves_both_untold() -> None:
    found = computed_utilization(None, ONE, USAGE)
    assert (found.mfu, found.mbu, found.source) == (None, None, "computed")
