import textwrap
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.core.suitability import MAX_CHARS, MIN_PROSE_CHARS, RejectionReason, judge_suitability

PARAGRAPHS = (
    "A drumlin is a smooth, elongated hill that a moving ice sheet shaped out of the debris under it. Its blunt "
    "end faces the direction from which the ice came, and its tail points the way that the ice went.",
    "Fields of drumlins may hold thousands of hills, which lie side by side like eggs in a basket. Geologists "
    "use them to map the flow of ice sheets that have been gone for ten thousand years, because the long axis of "
    "each hill records the last direction of movement.",
    "How they form is disputed. One school holds that the ice deformed the soft sediment beneath it, another that "
    "floods of meltwater carved the hills, and radar surveys under living glaciers in Iceland and Antarctica "
    "have shown that new ones are being made today.",
)
PROSE = "Drumlin\n\n" + "\n\n".join(PARAGRAPHS)

NAMES = [
    "Ash",
    "Birch",
    "Cedar",
    "Dogwood",
    "Elm",
    "Fir",
    "Ginkgo",
    "Hazel",
    "Ironwood",
    "Juniper",
    "Kapok",
    "Larch",
    "Maple",
    "Nutmeg",
    "Oak",
    "Pine",
]
PLAIN_LIST = "Trees of the park\n" + "\n".join(
    f"{name} ({n * 3} specimens by the lake)" for n, name in enumerate(NAMES)
)
CHRONOLOGY = "\n".join(
    f"{year} – The town council opens a new bridge over the river at the mill, and the old ferry is given up."
    for year in range(1801, 1821)
)
GLOSSARY = "\n".join(
    f"{name}: a tree of the temperate forests, planted along streets and in parks for its shade." for name in NAMES
)
BULLETS = "\n".join(
    f"- The {name} grows beside the lake, where the soil is wet for most of the year." for name in NAMES
)
PIPES = "\n".join(f"| {name} | {n} | {n * n} | tall | the northern shore of the lake |" for n, name in enumerate(NAMES))
TABS = "\n".join(f"{name}\t{n}\t{n * n}\ttall\tthe northern shore of the lake" for n, name in enumerate(NAMES))
CODE = "\n".join(f"    for (int i{n} = 0; i{n} < size[{n}]; ++i{n}) {{ sum += x[i{n}] * y[i{n}]; }}" for n in range(20))
FIGURES = "\n".join(" ".join(str(n * k) for k in range(1, 40)) for n in range(100, 120))
KEYWORDS = " ".join(NAMES * 10)
GERMAN = (
    "Ein Drumlin ist ein länglicher Hügel, den das fließende Eis eines Gletschers aus dem Schutt geformt hat, der "
    "unter ihm lag. Die steile Seite zeigt in die Richtung, aus der das Eis kam, die flache in die, in welche es "
    "floss. "
) * 4
RUSSIAN = (
    "Друмлин представляет собой вытянутый холм, который образовался под движущимся ледником из обломочного "
    "материала. Крутой склон обращён навстречу движению льда, а пологий вытянут по направлению его течения. "
) * 8
DISAMBIGUATION = "Mercury may refer to:\n\n" + "\n".join(f"Mercury ({name}), a ship of that name" for name in NAMES * 2)


@pytest.mark.parametrize("language", ["en", "EN", "en-GB", "English", "__label__en", "[0.97, 'EN']", None, "", "und"])
def test_prose_in_the_expected_language_is_a_candidate(language):
    assert judge_suitability("Drumlin", PROSE, language) is None


@pytest.mark.parametrize("width", [60, 72, 100])
def test_prose_whose_lines_are_wrapped_is_a_candidate(width):
    wrapped = "\n\n".join(textwrap.fill(paragraph, width) for paragraph in PARAGRAPHS)
    assert judge_suitability("Drumlin", wrapped, "en") is None


@pytest.mark.parametrize(
    ("reason", "title", "text"),
    [
        ("stub", "Drumlin", PARAGRAPHS[0]),
        ("stub", "Drumlin", PARAGRAPHS[0] + " " * 1000),
        ("stub", "Drumlin", PARAGRAPHS[0] + "\n\n" + "\n".join(f"{name} hill, west of the lake" for name in NAMES)),
        ("list_heavy", "Trees", PLAIN_LIST),
        ("list_heavy", "Timeline", CHRONOLOGY),
        ("list_heavy", "Glossary", GLOSSARY),
        ("list_heavy", "Trees", BULLETS),
        ("table_heavy", "Trees", PIPES),
        ("table_heavy", "Trees", TABS),
        ("disambiguation", "Mercury", DISAMBIGUATION),
        ("disambiguation", "Mercury (disambiguation)", DISAMBIGUATION.replace("may refer to", "is a name")),
        ("non_prose", "Code", CODE),
        ("non_prose", "Figures", FIGURES),
        ("non_prose", "Keywords", KEYWORDS),
        ("wrong_language", "Drumlin", RUSSIAN),
        ("too_large", "Drumlin", "A sentence that goes on. " * (MAX_CHARS // 25 + 1)),
    ],
)
def test_each_kind_of_poor_candidate_is_rejected_by_name(reason, title, text):
    assert judge_suitability(title, text, None) == reason


def test_every_reason_is_one_of_the_named_ones():
    assert set(get_args(RejectionReason)) == {
        "stub", "list_heavy", "table_heavy", "disambiguation", "non_prose", "wrong_language", "too_large",
    }  # fmt: skip


def test_what_curator_says_about_the_language_is_believed():
    assert judge_suitability("Drumlin", GERMAN, "de") == "wrong_language"
    assert judge_suitability("Drumlin", GERMAN, "de", expected_language="de") is None
    assert judge_suitability("Drumlin", GERMAN, "en") is None
    assert judge_suitability("Drumlin", PROSE, "de") == "wrong_language"


def test_where_curator_says_nothing_only_clear_cases_are_rejected():
    assert judge_suitability("Drumlin", GERMAN * 2, None) == "wrong_language"
    assert judge_suitability("Drumlin", GERMAN * 2, None, expected_language="de") is None
    few_words = " ".join([RUSSIAN[: RUSSIAN.index(".") + 1]] * 5)
    assert len(few_words.split()) < 100
    assert judge_suitability("Drumlin", few_words, None) is None


def test_an_article_with_a_list_or_a_table_in_it_stays_a_candidate():
    assert judge_suitability("Drumlin", PROSE + "\n\n" + PLAIN_LIST, "en") is None
    assert judge_suitability("Drumlin", PROSE + "\n\n" + "\n".join(PIPES.split("\n")[:8]), "en") is None


def test_prose_that_says_what_its_title_may_refer_to_stays_a_candidate():
    assert judge_suitability("Drumlin", "The name may also refer to a single hill.\n" + PROSE, "en") is None


def test_words_of_other_scripts_count_as_letters():
    hindi = "यह नदी पहाड़ों से निकलती है और मैदानों में बहती हुई समुद्र तक पहुँचती है। " * 20
    assert judge_suitability("नदी", hindi.replace("।", "."), "hi", expected_language="hi") is None


@settings(deadline=None)
@given(st.text(), st.text(), st.none() | st.text())
def test_any_text_gets_a_verdict(title, text, language):
    verdict = judge_suitability(title, text, language)
    assert verdict is None or verdict in get_args(RejectionReason)
    if len(text) < MIN_PROSE_CHARS:
        assert verdict is not None
