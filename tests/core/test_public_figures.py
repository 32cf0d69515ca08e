"""What we predict held against what others have measured. Each error is stated: a change that moves one shows."""

import math
import statistics

import pytest

from synth_assets.core.hardware import Hardware
from synth_assets.core.models import find
from synth_assets.core.public_figures import PUBLIC_FIGURES, PublicFigure, compare, comparisons
from synth_assets.core.throughput import (
    HIGH_FACTOR,
    LOW_FACTOR,
    SEQUENCE_OVERHEAD_SECONDS,
    STEP_OVERHEAD_SECONDS,
    mfu,
    throughput_estimate,
)

ERRORS = {
    ("SmolLM2-135M", "H100", 256): -0.26,
    ("SmolLM2-360M", "H100", 256): -0.06,
    ("Qwen3-0.6B", "H100", 256): -0.28,
    ("Qwen3-0.6B", "H100", 512): -0.28,
    ("Gemma-3-1B", "H100", 256): 0.44,
    ("SmolLM2-1.7B", "H100", 256): 0.21,
    ("SmolLM2-1.7B", "H100", 2048): -0.31,
    ("Qwen3-1.7B", "H100", 256): -0.22,
    ("Qwen3-4B", "H100", 256): -0.12,
    ("Gemma-3-4B", "H100", 256): 0.04,
    ("Gemma-3-4B", "H100", 1024): 0.02,
    ("Qwen3-8B", "H100", 256): -0.06,
    ("Gemma-3-12B", "H100", 256): 0.05,
    ("Qwen3-14B", "H100", 256): -0.07,
    ("Qwen3-14B", "2xH100", 256): -0.17,
    ("Gemma-3-27B", "2xH100", 256): 0.11,
    ("Qwen3-32B", "4xH100", 256): -0.08,
    ("Qwen3-30B-A3B", "H100", 256): -0.21,
    ("Qwen3-30B-A3B", "2xH100", 512): 0.07,
    ("Qwen3-Next-80B-A3B", "4xH100", 256): 0.11,
    ("Qwen3-Next-80B-A3B", "4xH100", 512): 0.19,
    ("gpt-oss-20b", "H100", 256): 0.01,
    ("gpt-oss-20b", "H100", 512): 0.02,
    ("gpt-oss-120b", "H100", 256): 0.10,
    ("gpt-oss-120b", "2xH100", 1024): 0.31,
    ("Nemotron-3-Nano-30B-A3B-FP8", "B200", 128): 0.11,
}
"""(Predicted - published) / published, by model, hardware and sequences."""

FITTED = [figure for figure in PUBLIC_FIGURES if figure.is_fitted]


def identity(figure: PublicFigure) -> tuple[str, str, int]:
    return figure.model, figure.hardware, figure.sequences


@pytest.mark.parametrize("figure", PUBLIC_FIGURES, ids=lambda figure: f"{figure.model}-{figure.hardware}")
def test_the_error_against_a_public_figure_is_the_one_that_is_stated(figure: PublicFigure) -> None:
    assert compare(figure).error == pytest.approx(ERRORS[identity(figure)], abs=0.006)


def test_half_of_the_errors_are_within_11_percent_and_all_but_two_within_30() -> None:
    errors = sorted(abs(compare(figure).error) for figure in FITTED)
    assert len(errors) == 24
    assert statistics.median(errors) < 0.11
    assert errors[-3] < 0.30 < errors[-2]


def test_all_but_one_of_the_public_figures_lie_between_low_and_high() -> None:
    outside = [figure for figure in FITTED if not LOW_FACTOR < compare(figure).ratio < HIGH_FACTOR]
    assert [figure.model for figure in outside] == ["Gemma-3-1B"]


def test_the_prediction_leans_to_neither_side() -> None:
    assert abs(statistics.mean(math.log(compare(figure).ratio) for figure in FITTED)) < 0.03


def test_what_the_server_does_for_each_sequence_lets_small_models_be_as_fast_as_they_are() -> None:
    fastest = max(figure.tokens_per_second_per_gpu for figure in FITTED)
    assert fastest < 1 / (SEQUENCE_OVERHEAD_SECONDS + STEP_OVERHEAD_SECONDS / 256)


def test_nemotrons_public_figure_lies_between_the_predictions_for_64_and_128_sequences() -> None:
    low, high = (
        throughput_estimate(find("Nemotron-3-Nano-30B-A3B-FP8"), Hardware.parse("B200"), sequences, 1024, 1024)
        for sequences in (64, 128)
    )
    assert low.output_tokens_per_second < 9_415 < high.output_tokens_per_second


def test_nemotrons_public_rate_is_not_the_share_of_the_peak_that_is_given_with_it() -> None:
    b200 = Hardware.parse("B200")
    assert mfu(find("Nemotron-3-Nano-30B-A3B-FP8"), b200, 9_415) == pytest.approx(0.0135, rel=0.01)
    assert mfu(find("Nemotron-3-Nano-30B-A3B"), b200, 9_415) == pytest.approx(0.027, rel=0.01)


def test_every_figure_says_where_it_comes_from() -> None:
    assert all(comparison.figure.source for comparison in comparisons())
    assert all(figure.note for figure in PUBLIC_FIGURES if not figure.is_fitted)
