"""Every arm has the same budget, and what is reported is what was drawn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.proxy_model import ProxyConfig
from synth_assets.core.proxy_pretraining import (
    LIMITS,
    MIX,
    ArmResult,
    arms,
    drawn_windows,
    markdown_table,
    run_arms,
    summaries,
)
from synth_assets.core.proxy_text import packed

TINY = ProxyConfig(layers=1, width=16, heads=2, context_bytes=16, batch_windows=4, steps=3)
NAMES = st.lists(st.sampled_from(["distill", "diverse_qa", "wiki", "list"]), unique=True, max_size=4)


@pytest.fixture(autouse=True)
def one_thread():
    """Layers of 16 numbers cost more to share among threads than to compute."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@given(names=NAMES, steps=st.integers(1, 30), batch=st.integers(1, 9))
def test_every_arm_spends_the_same_budget_and_half_of_the_mix_is_real(names, steps, batch):
    config = replace(TINY, steps=steps, batch_windows=batch)
    found = arms(["original", *names], "original", config)
    assert [arm.name for arm in found] == ["original", *names, *([MIX] if names else [])]
    assert {sum(arm.window_counts.values()) for arm in found} == {config.window_count}
    if names:
        counts = dict(found[-1].window_counts)
        assert abs(counts.pop("original") - config.window_count / 2) <= 0.5
        assert max(counts.values()) - min(counts.values()) <= 1


def test_the_mix_draws_from_each_source_what_it_says():
    sources = {
        name: packed([letter * 400], 400) for name, letter in (("original", "o"), ("distill", "d"), ("wiki", "w"))
    }
    config = replace(TINY, steps=5)
    mix = arms(list(sources), "original", config)[-1]
    drawn = [chr(int(window[1])) for window in drawn_windows(mix, sources, config, seed=1)]
    assert Counter(drawn) == {"o": 10, "d": 5, "w": 5}
    assert drawn != sorted(drawn, key="odw".index)


def test_results_say_how_much_text_there_was_and_how_often_it_was_seen():
    sources = {"original": packed(["plenty of real text. " * 40], 1_000), "distill": packed(["short text "], 1_000)}
    seen = []
    results = run_arms(sources, "original", packed(["held out"], 100), TINY, [1, 2], "cpu", seen.append)
    assert results == seen
    assert [(row.arm, row.seed) for row in results] == [
        (arm, seed) for seed in (1, 2) for arm in ("original", "distill", MIX)
    ]
    assert {row.train_bytes for row in results} == {TINY.train_bytes}
    by_arm = {row.arm: row for row in results}
    assert by_arm["original"].unique_train_bytes == TINY.train_bytes == 192
    assert by_arm["original"].epochs == 1
    assert by_arm["distill"].unique_train_bytes == 11
    assert by_arm["distill"].epochs == pytest.approx(192 / 11)
    assert by_arm[MIX].unique_train_bytes == 96 + 11
    again = run_arms(sources, "original", packed(["held out"], 100), TINY, [1], "cpu")
    assert [row.bits_per_byte for row in again] == [row.bits_per_byte for row in results[:3]]


def result(arm: str, seed: int, bits: float) -> ArmResult:
    return ArmResult(arm, seed, bits, 1000, 500, 2.0, 10, 1234, "cpu", 1.5, 80)


TWO_SEEDS = [
    *(result("original", seed, bits) for seed, bits in ((1, 4.0), (2, 4.2))),
    *(result("distill", seed, bits) for seed, bits in ((1, 3.5), (2, 3.7))),
]


def test_differences_are_told_in_units_of_the_noise():
    original, distill = summaries(TWO_SEEDS, "original")
    assert original.mean == pytest.approx(4.1)
    assert original.difference == 0
    assert original.difference_in_noise is None
    assert distill.deviation == pytest.approx(0.1 * 2**0.5)
    assert distill.difference == pytest.approx(-0.5)
    assert distill.difference_in_noise == pytest.approx(-0.5 / 0.2)


def test_one_seed_has_no_noise():
    [_, distill] = summaries([result("original", 1, 4.0), result("distill", 1, 3.5)], "original")
    assert distill.deviation is None
    assert distill.difference_in_noise is None


def test_the_table_says_what_it_cannot_tell():
    table = markdown_table(TWO_SEEDS, "original")
    assert "| distill | 3.6000 ± 0.1414 | -0.5000 | -2.5 | 500 | 2.0 |" in table
    assert "1,234 parameters, 10 steps, 1,000 bytes for each arm, 2 seeds, measured on 80 bytes" in table
    assert LIMITS in table
