"""Gates reject what nobody would train on, say why, and let everything else pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.assets.rephrased import strategy_code_version
from synth_assets.core.gates import (
    DEFAULT_GATES,
    copies_its_source,
    drifts_to_another_language,
    length_ratio,
    repeats_itself,
    standard_gates,
)
from synth_assets.core.screening import first_rejection
from synth_assets.strategies import discover

STRATEGIES = discover()
SENTENCES = [
    f"In {1800 + 7 * number} the keepers of station {number} measured {number * 37} ships, wrote {word} in a ledger "
    f"and sent it by {way} to the office on the coast."
    for number, (word, way) in enumerate(
        zip(
            ("wind", "tide", "fog", "rain", "frost", "hail", "thunder", "drift", "haze", "snow"),
            ("boat", "mule", "rail", "cart", "sledge", "post", "runner", "wire", "barge", "coach"),
            strict=True,
        )
    )
]
SOURCE = " ".join(SENTENCES)
REPHRASED = (
    "Ten stations along the coast reported to one office. Each of them counted the ships that came by and kept a book "
    "about the weather, and each had a way of its own to send it: the first used a boat, others a mule, the railway, a "
    "cart or a sledge. Over the nineteenth century the numbers grew. Where the earliest book has no ship at all, the "
    "last one lists 333, which tells how much the trade had changed by then."
)
GERMAN = (
    "Zehn Stationen an der Küste berichteten an ein Amt. Jede zählte die Schiffe, die vorüberkamen, und führte ein "
    "Buch über das Wetter; jede hatte ihren eigenen Weg, es zu schicken: die erste ein Boot, andere einen Maulesel, "
    "die Bahn, einen Karren oder einen Schlitten. Im Laufe des Jahrhunderts wuchsen die Zahlen."
)


def test_a_plain_rephrasing_passes_the_gates_of_every_strategy():
    for strategy in STRATEGIES:
        assert first_rejection(strategy.gates, SOURCE, REPHRASED) is None, strategy.name


def test_a_loop_is_rejected_with_gate_value_and_limit():
    rejection = first_rejection([repeats_itself()], SOURCE, SENTENCES[0] * 20)
    assert rejection is not None
    assert (rejection.stage, rejection.reason) == ("gates", "low_quality")
    assert rejection.detail.startswith("repeats_itself: 0.9")
    assert rejection.detail.endswith("at most 0.30")


def test_a_text_that_ends_in_a_loop_is_rejected():
    assert repeats_itself()(SOURCE, REPHRASED + " They sent it to the office on the coast again." * 30)


def test_a_source_that_repeats_itself_may_be_rephrased_so():
    assert repeats_itself()(SENTENCES[0] * 20, SENTENCES[1] * 20) is None


def test_a_copy_of_the_source_is_rejected_whatever_its_line_breaks():
    assert copies_its_source()(SOURCE, SOURCE.replace(". ", ".\n"))
    assert copies_its_source()(SOURCE, REPHRASED * 2) is None
    assert copies_its_source()(SENTENCES[0], SENTENCES[0]) is None


def test_another_language_is_rejected_only_where_both_are_sure():
    rejection = drifts_to_another_language()(SOURCE, GERMAN)
    assert rejection is not None
    assert rejection.detail == "drifts_to_another_language: de of a source in en"
    assert drifts_to_another_language()(SOURCE, REPHRASED) is None
    assert drifts_to_another_language()("1 2 3 4 5 " * 50, GERMAN) is None
    assert drifts_to_another_language()(SOURCE, "Der Turm.") is None


@pytest.mark.parametrize(("chars", "is_rejected"), [(10, True), (300, False), (3000, False), (9000, True)])
def test_a_text_far_from_its_sources_length_is_rejected(chars, is_rejected):
    assert (length_ratio(0.02, 8.0)("s" * 1000, "t" * chars) is not None) == is_rejected


def test_a_short_text_is_never_too_long_for_a_stub():
    assert length_ratio(0.02, 8.0)("Mill.", "t" * 900) is None


def test_another_limit_is_another_version_of_the_strategy_and_asks_for_nothing():
    strategy = STRATEGIES[0]
    stricter = replace(strategy, gates=standard_gates(most_ratio=1.5))
    assert strategy_code_version(stricter) != strategy_code_version(replace(strategy, gates=standard_gates()))
    assert stricter.generation_fingerprint == strategy.generation_fingerprint


@given(st.text(), st.text())
def test_a_gate_never_fails_and_always_says_the_same(source, text):
    gates = (*DEFAULT_GATES, copies_its_source())
    assert first_rejection(gates, source, text) == first_rejection(gates, source, text)
