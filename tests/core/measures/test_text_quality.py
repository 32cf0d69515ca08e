"""All measures of one text together."""

from __future__ import annotations

from dataclasses import asdict, fields

from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.measures.text_quality import TextQuality, measure
from synth_assets.core.quality_tables import TEXT_QUALITY

ENGLISH = "The keeper of the lighthouse wrote down the weather every morning and every evening of his life. " * 2
GERMAN = "Der Wärter des Leuchtturms schrieb jeden Morgen und jeden Abend seines Lebens das Wetter auf. " * 2

any_text = st.text(alphabet=st.characters(exclude_categories=[])) | st.text(alphabet="ABab12., -:\n%$")


def test_the_table_has_a_column_for_every_measure():
    assert {field.name for field in fields(TextQuality)} <= set(TEXT_QUALITY.schema.names)


def test_an_original_has_no_measures_against_a_source():
    found = measure(None, ENGLISH)
    assert found.language == "en"
    assert found.word_count == 34
    assert (found.length_ratio, found.novel_4gram_share, found.kept_name_share, found.is_language_kept) == (None,) * 4


def test_another_language_than_the_sources_is_drift():
    assert measure(ENGLISH, GERMAN).is_language_kept is False
    assert measure(ENGLISH, ENGLISH).is_language_kept is True
    assert measure(ENGLISH, "Mill").is_language_kept is None


def test_the_length_is_measured_by_the_source():
    assert measure("x" * 100, "y" * 25).length_ratio == 0.25
    assert measure("", "y").length_ratio is None


@given(any_text, any_text)
def test_measuring_never_fails_and_shares_are_shares(source, text):
    for name, value in asdict(measure(source, text)).items():
        assert value is None or not name.endswith("_share") or 0 <= value <= 1


@given(any_text)
def test_a_text_is_no_news_to_itself_and_keeps_all_of_itself(text):
    found = asdict(measure(text, text))
    assert found["novel_4gram_share"] in (None, 0)
    assert {value for name, value in found.items() if name.startswith("kept_")} <= {None, 1.0}
    assert (found["invented_number_count"], found["invented_name_count"]) == (0, 0)
