"""Languages are told offline, and nothing is said where nothing can be told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.measures.language import language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The keeper of the lighthouse wrote down the weather every morning and every evening.", "en"),
        ("Der Wärter des Leuchtturms schrieb jeden Morgen und jeden Abend das Wetter auf.", "de"),
        ("Le gardien du phare notait le temps qu'il faisait chaque matin et chaque soir.", "fr"),
        ("El guardián del faro anotaba el tiempo cada mañana y cada noche en un cuaderno.", "es"),
        ("Смотритель маяка каждое утро и каждый вечер записывал погоду в тетрадь.", "ru"),
        ("灯塔的看守人每天早晚都把天气记在本子上，从来没有漏掉一天。", "zh"),
    ],
)
def test_a_sentence_is_enough(text, language):
    assert language_of(text) == language


def test_a_text_that_is_too_short_has_no_language():
    assert language_of("Mill") is None


def test_capitals_are_no_language_of_their_own():
    assert language_of("THE KEEPER OF THE LIGHTHOUSE WROTE DOWN THE WEATHER.") == "en"


def test_a_line_break_makes_no_difference():
    assert language_of("The keeper of the lighthouse\nwrote down\nthe weather every morning.\n") == "en"


@given(st.text(alphabet=st.characters()) | st.text(alphabet=st.characters(categories=["Cs"]), min_size=20))
def test_any_text_has_a_language_or_none(text):
    assert language_of(text) is None or language_of(text).isascii()
