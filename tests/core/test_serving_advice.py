"""Advice follows from measured rates and memory: the knee, the division of the GPUs, what limits, what to set."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from synth_assets.core.hardware import Hardware
from synth_assets.core.models import find
from synth_assets.core.scaling import CLIENT_REQUESTS_PER_SECOND
from synth_assets.core.serving_advice import (
    MeasuredRate,
    RequestShape,
    ServerSettings,
    ServingAdvice,
    advise,
    serving_layout,
)
from synth_assets.core.throughput import throughput_estimate

SHAPE = RequestShape(600, 400)
LLAMA = find("Llama-3.1-8B")
NEMOTRON = find("Nemotron-3-Nano-30B-A3B")


def rates(**levels: float) -> list[MeasuredRate]:
    """`n16=300.0` means 300 tokens/s at 16 in flight."""
    return [MeasuredRate(int(name[1:]), rate, 600, 400) for name, rate in levels.items()]


def advice(
    measured: Sequence[MeasuredRate], current: ServerSettings | None = None, hardware: str = "4xH100-SXM"
) -> ServingAdvice:
    return advise(LLAMA, Hardware.parse(hardware), measured, SHAPE, current or ServerSettings(64))


def test_the_knee_is_the_least_level_within_five_percent_of_the_best() -> None:
    found = advice(rates(n1=100, n4=380, n16=960, n64=1000))
    assert (found.concurrency, found.has_leveled_off) == (16, True)
    assert found.setting == "VLLM_MAX_PARALLEL_REQUESTS=16"
    assert "64 give 4% more, and each answer takes 3.8 times as long" in found.sentences[0]
    assert "(it is 64)" in found.sentences[0]


def test_a_rate_that_still_grows_is_to_be_measured_higher() -> None:
    found = advice(rates(n1=100, n4=380, n16=900, n64=1500))
    assert (found.concurrency, found.has_leveled_off) == (64, False)
    assert "measure higher with VLLM_MAX_PARALLEL_REQUESTS=256 and `synth baseline`" in found.sentences[0]


def test_a_single_level_says_nothing_of_a_knee() -> None:
    assert not advice(rates(n4=380)).has_leveled_off


def test_a_rate_that_falls_has_its_knee_at_the_best_level() -> None:
    found = advice(rates(n1=100, n4=1000, n16=500))
    assert found.concurrency == 4
    assert "50% less" in found.sentences[0]


def test_nothing_is_to_be_set_where_the_setting_is_the_knee() -> None:
    found = advice(rates(n1=100, n16=960, n64=1000), ServerSettings(16))
    assert found.setting == ""
    assert "as it should be" in found.sentences[0]


def test_no_measurement_gives_no_advice() -> None:
    with pytest.raises(ValueError, match="empty"):
        advice([])


def test_a_model_that_fits_one_gpu_is_served_by_as_many_replicas() -> None:
    layout = serving_layout(LLAMA, Hardware.parse("4xH100-SXM"), 64, SHAPE)
    assert layout is not None
    assert (layout.replicas, layout.tensor_parallel) == (4, 1)
    assert layout.max_sequences >= 64


def test_the_group_grows_until_the_caches_of_all_in_flight_fit() -> None:
    """63 GB of weights leave a H100 room for some sequences, not for a thousand."""
    few = serving_layout(NEMOTRON, Hardware.parse("4xH100-SXM"), 16, SHAPE)
    many = serving_layout(NEMOTRON, Hardware.parse("4xH100-SXM"), 1000, SHAPE)
    assert few is not None
    assert many is not None
    assert few.tensor_parallel == 1
    assert many.tensor_parallel > 1
    assert few.max_sequences < 1000 <= many.max_sequences
    assert many.replicas * many.tensor_parallel == 4


def test_a_model_that_fits_no_group_has_no_layout_and_the_sentence_says_so() -> None:
    assert serving_layout(NEMOTRON, Hardware.parse("L40S"), 1, SHAPE) is None
    found = advise(NEMOTRON, Hardware.parse("L40S"), rates(n1=10, n4=11), SHAPE, ServerSettings(64))
    assert found.layout is None
    assert found.limit == "memory"
    assert "does not fit 1xL40S: 63 GB of weights" in found.sentences[1]


def test_addresses_of_replicas_are_given_to_the_setting() -> None:
    assert "VLLM_BASE_URL, separated by commas" in advice(rates(n1=100, n4=101)).sentences[1]
    assert "VLLM_BASE_URL" not in advice(rates(n1=100, n4=101), hardware="H100").sentences[1]


def expected(concurrency: int, hardware: str = "H100") -> float:
    return throughput_estimate(LLAMA, Hardware.parse(hardware), concurrency, 600, 400).output_tokens_per_second


def test_a_rate_that_the_roofline_explains_is_limited_by_memory_bandwidth() -> None:
    measured = [MeasuredRate(n, expected(n), 600, 400) for n in (1, 4, 16)]
    found = advice(measured, hardware="H100")
    assert found.limit == "memory bandwidth"
    assert "memory bandwidth" in found.sentences[2]


def test_a_rate_far_below_the_roofline_is_not_of_these_gpus() -> None:
    found = advice(rates(n1=20, n4=60, n16=90, n64=91))
    assert found.limit == "not these GPUs"
    assert "runs on something else" in found.sentences[2]


def test_several_servers_share_the_gpus() -> None:
    """One of four servers on four GPUs is held against one GPU."""
    measured = [MeasuredRate(n, expected(n), 600, 400) for n in (1, 4, 16)]
    assert "4xH100" not in advice(measured, ServerSettings(64, servers=4)).sentences[2]
    assert advice(measured, ServerSettings(64, servers=4)).limit == "memory bandwidth"


def test_servers_faster_than_one_client_are_limited_by_it() -> None:
    rate = 2 * CLIENT_REQUESTS_PER_SECOND * SHAPE.completion_tokens
    found = advice(rates(n64=rate, n256=rate))
    assert found.limit == "client"
    assert "Run several clients" in found.sentences[2]
