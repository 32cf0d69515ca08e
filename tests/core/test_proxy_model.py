"""The small model learns, begins the same each time, and is measured in exact bits per byte."""

from __future__ import annotations

from dataclasses import replace

import pytest

from synth_assets.core.proxy_model import ProxyConfig, bits_per_byte, new_model, parameter_count, train
from synth_assets.core.proxy_text import packed, windows

TINY = ProxyConfig(layers=1, width=16, heads=2, context_bytes=32, batch_windows=4, steps=30, learning_rate=1e-2)
TEXT = packed(["The keeper wrote the rainfall down in a small grey book. "] * 30, 10_000)


@pytest.fixture(autouse=True)
def one_thread():
    """Layers of 16 numbers cost more to share among threads than to compute."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(config: ProxyConfig, seed: int = 1):
    model = new_model(config, seed, "cpu")
    losses = train(model, config, windows(TEXT, config.window_count, config.context_bytes, seed))
    return model, losses


def test_the_loss_falls_on_text_that_repeats_itself():
    model, losses = trained(TINY)
    assert len(losses) == TINY.steps
    assert losses[0] > 7.5
    assert losses[-1] < 0.75 * losses[0]
    assert bits_per_byte(model, TEXT, TINY.context_bytes) < bits_per_byte(new_model(TINY, 1, "cpu"), TEXT, 32)


def test_the_same_seed_gives_the_same_model_and_another_seed_another_one():
    config = replace(TINY, steps=5)
    first, again, other = (bits_per_byte(trained(config, seed)[0], TEXT, 32) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("context_bytes", [4, 32, 1000])
def test_a_model_that_knows_nothing_needs_eight_bits_for_a_byte(context_bytes):
    import torch

    model = new_model(replace(TINY, context_bytes=context_bytes), 1, "cpu")
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert bits_per_byte(model, packed(["odd length", "ü"], 100), context_bytes) == pytest.approx(8)


def test_every_byte_is_scored_once_wherever_windows_end():
    text = packed(["Ghent has a bell.", "Bruges has others."], 100)
    shown = []

    class Counting:
        def __init__(self, model):
            self.model = model
            self.parameters = model.parameters
            self.eval = model.eval

        def __call__(self, input_ids):
            shown.append(input_ids)
            return self.model(input_ids=input_ids)

    model = new_model(replace(TINY, context_bytes=64), 1, "cpu")
    whole = bits_per_byte(Counting(model), text, 64)
    assert [batch.shape for batch in shown] == [(1, 64)]
    assert 5 < whole < 12
    # Batches are only a matter of speed.
    assert bits_per_byte(model, text, 8, batch_windows=1) == pytest.approx(bits_per_byte(model, text, 8), rel=1e-5)


def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match="no byte"):
        bits_per_byte(new_model(TINY, 1, "cpu"), packed([], 10), 8)


def test_tied_weights_count_once():
    model = new_model(TINY, 1, "cpu")
    assert parameter_count(model) == sum(weight.numel() for weight in set(model.state_dict().values())) - 257 * 16
