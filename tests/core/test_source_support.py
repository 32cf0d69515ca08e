"""What a source explains of a text: exact by hand under a tiny model, and telling under a real one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.embedded_vllm import prepared_smollm2
from synth_assets.core.language_model import LanguageModel
from synth_assets.core.source_support import (
    BETWEEN,
    SentenceSupport,
    SourcePair,
    SourceSupport,
    joined,
    source_supports,
)

SOURCE = "Frost came in May. The river rose."
TEXT = "It froze in May. Then the river rose."


@pytest.fixture(scope="module")
def tiny(tiny_gpt2: Path) -> LanguageModel:
    return LanguageModel.load(str(tiny_gpt2), dtype="float32")


def direct_nats(model: LanguageModel, before: str, text: str) -> list[float]:
    """Nats of each token of the text, from one plain forward pass over all of it."""
    import torch

    prefix, ids = model.token_ids(before), model.token_ids(text)[1:]
    whole = torch.tensor([[*prefix, *ids]])
    with torch.no_grad():
        logits: Any = model.model(input_ids=whole).logits[0]
    losses = -torch.log_softmax(logits.double(), dim=-1)
    return [losses[len(prefix) + place - 1, token].item() for place, token in enumerate(ids)]


def test_sentences_have_the_losses_of_one_plain_forward_pass(tiny):
    (found,) = source_supports(tiny, [SourcePair(SOURCE, TEXT)])
    assert found is not None
    assert [sentence.text for sentence in found.sentences] == ["It froze in May.", " Then the river rose."]
    alone, given_source = direct_nats(tiny, "", TEXT), direct_nats(tiny, SOURCE + BETWEEN, TEXT)
    end = found.sentences[0].token_count
    for part, sentence in ((slice(0, end), found.sentences[0]), (slice(end, None), found.sentences[1])):
        assert sentence.nats == pytest.approx(sum(alone[part]), rel=1e-4)
        assert sentence.nats_given_source == pytest.approx(sum(given_source[part]), rel=1e-4)
    assert found.byte_count == len(TEXT)
    assert found.bits_per_byte == pytest.approx(sum(alone) / math.log(2) / len(TEXT), rel=1e-4)
    assert found.explained_share == pytest.approx(1 - sum(given_source) / sum(alone), rel=1e-3, abs=1e-5)


def test_pairs_keep_their_order_and_those_without_a_figure_their_place(tiny):
    texts = ["", "Short one.", "x" * 300, "Another one. And more of it.", " "]
    found = list(source_supports(tiny, [SourcePair(SOURCE, text) for text in texts]))
    assert [support is None for support in found] == [True, False, True, False, True]
    single = [next(source_supports(tiny, [SourcePair(SOURCE, text)])) for text in texts]
    for together, by_itself in zip(found, single, strict=True):
        if together is not None and by_itself is not None:
            assert together.bits_per_byte == pytest.approx(by_itself.bits_per_byte, rel=1e-4)


def test_a_source_that_does_not_fit_the_context_gives_no_figure(tiny):
    assert list(source_supports(tiny, [SourcePair("y" * tiny.context_tokens, "Text.")])) == [None]


def sentence(nats: float, given_source: float, tokens: int = 10) -> SentenceSupport:
    return SentenceSupport("s", tokens, nats, given_source)


def test_several_passages_count_as_one_text():
    parts = [SourceSupport((sentence(8, 2),), 10), SourceSupport((sentence(2, 2), sentence(1, 3, tokens=2)), 5)]
    whole = joined(parts)
    assert whole is not None
    assert whole.byte_count == 15
    assert whole.explained_share == pytest.approx(1 - 7 / 11)
    # The one of two tokens is too short to tell.
    assert whole.least_supported == sentence(2, 2)
    assert joined([]) is None


@given(st.text(alphabet="ab. \n!?é", max_size=60))
def test_no_character_of_a_text_goes_unscored(tiny, text):
    (found,) = source_supports(tiny, [SourcePair("b", text)])
    kept = "".join(sentence.text for sentence in found.sentences) if found else ""
    assert kept.split() == text.split()


def test_a_real_model_explains_a_paraphrase_and_points_at_what_was_invented():
    model = LanguageModel.load(str(prepared_smollm2()))
    source = (
        "The Severn bore is a tidal wave that runs up the River Severn. It forms because the estuary narrows from "
        "8 km at Avonmouth to under 100 m at Minsterworth. The largest bores come around the equinoxes."
    )
    faithful = (
        "A tidal wave called the Severn bore travels up the River Severn. The cause is an estuary that narrows from "
        "8 km at Avonmouth to less than 100 m at Minsterworth."
    )
    invented = faithful + " In 1954 Paraguay sued Napoleon for painting the opera house of Lisbon."
    other = "Photosynthesis turns light into sugar. Leaves are green because chlorophyll reflects green light."
    found = source_supports(model, [SourcePair(source, text) for text in (faithful, invented, other)])
    right, wrong, foreign = (support for support in found if support is not None)
    assert right.explained_share > 0.4 > wrong.explained_share > foreign.explained_share
    least = wrong.least_supported
    assert least is not None
    assert "Paraguay" in least.text
    assert least.explained_share < 0.15
