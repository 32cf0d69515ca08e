import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from resources.inference import Completion
from synth_assets.core.postprocessing import finish_segment
from synth_assets.core.strategy import AnswerContext
from synth_assets.strategies.diverse_qa import (
    STRATEGY,
    DiverseQA,
    QAPair,
    WireDiverseQA,
    merge_structured,
    to_structured,
    to_text,
)

CONTEXT = AnswerContext("Salt", "Salt is a mineral.", "key")

YES_NO = {"question": "Is salt a mineral?", "answer": "Yes", "explanation": "salt is the mineral halite."}
OPEN = {"question": "Where is salt found?", "answer": "In the sea and in beds of rock."}
CHOICE = {
    "question": "What is the name of rock salt?", "correct": "B",
    "choice_a": "Calcite", "choice_b": "Halite", "choice_c": "Quartz", "choice_d": "Talc",
}  # fmt: skip


def wire(**changes: Any) -> WireDiverseQA:
    return WireDiverseQA.model_validate(
        {"yes_no": [YES_NO], "open_ended": [OPEN], "multiple_choice": [CHOICE], **changes}
    )


def with_choices(*choices: str, correct: str = "B") -> WireDiverseQA:
    names = dict(zip(("choice_a", "choice_b", "choice_c", "choice_d"), choices, strict=True))
    return wire(multiple_choice=[{**CHOICE, **names, "correct": correct}])


def multiple_choice(stored: DiverseQA) -> QAPair:
    return next(pair for pair in stored.qa_pairs if pair.question_type == "multiple_choice")


def finish(answer: WireDiverseQA):
    return finish_segment(Completion("key", answer.model_dump_json(), "stop"), STRATEGY, CONTEXT)


def pair(kind: str, **changes: Any) -> dict[str, Any]:
    answer, choices = {
        "yes_no": ("Yes.", None),
        "open_ended": ("In the sea.", None),
        "multiple_choice": ("Halite", ["Halite", "Talc"]),
    }[kind]
    return {"question": f"{kind}?", "answer": answer, "question_type": kind, "choices": choices, **changes}


def test_a_wire_answer_becomes_a_valid_structure():
    stored = to_structured(wire())

    assert [(item.question_type, item.answer, item.choices) for item in stored.qa_pairs] == [
        ("yes_no", "Yes. Salt is the mineral halite.", None),
        ("open_ended", "In the sea and in beds of rock.", None),
        ("multiple_choice", "Halite", ["Calcite", "Halite", "Quartz", "Talc"]),
    ]


def texts(least: int, most: int, endings: str = "") -> st.SearchStrategy[str]:
    """Strings as the grammar admits them, words among them, up to and including the bound."""
    plain = st.characters(codec="utf-8", exclude_characters='"\\', exclude_categories=("Cc", "Cs"))
    words = st.lists(st.sampled_from(["salt", "Is", "No,", "Yes.", "A)", "rock?"]), max_size=12).map(" ".join)
    body = st.one_of(st.text(plain, min_size=least, max_size=most), words).map(
        lambda text: text[:most].ljust(least, "x")
    )
    return st.tuples(body, st.sampled_from(endings or [""])).map("".join)


questions, choices = texts(8, 129, "?？"), texts(1, 50)
wires = st.builds(
    WireDiverseQA,
    yes_no=st.lists(
        st.fixed_dictionaries(
            {"question": questions, "answer": st.sampled_from(["Yes", "No"]), "explanation": texts(8, 129, ".!")}
        ),
        min_size=1,
        max_size=2,
    ),
    open_ended=st.lists(
        st.fixed_dictionaries({"question": questions, "answer": texts(8, 199, ".!")}), min_size=1, max_size=2
    ),
    multiple_choice=st.lists(
        st.fixed_dictionaries(
            {"question": questions, "correct": st.sampled_from("ABCD")}
            | {
                f"choice_{letter}": st.one_of(st.sampled_from(["A) Talc", "talc", "Salt "]), choices)
                for letter in "abcd"
            }
        ),
        min_size=1,
        max_size=2,
    ),
)


@given(answer=wires)
def test_whatever_the_grammar_admits_gives_a_valid_structure_or_a_named_drop(answer):
    finished = finish(answer)

    if finished.reason is None:
        assert isinstance(finished.structured, DiverseQA)
        assert DiverseQA.model_validate_json(finished.structured.model_dump_json()) == finished.structured
        assert finished.text.count("Question: ") >= 3
    else:
        assert finished.reason == "invalid_schema"
        assert finished.detail


def test_equal_choices_are_merged_and_the_correct_one_is_kept_as_it_is_spelt():
    stored = multiple_choice(to_structured(with_choices("halite", "Halite", "A) Quartz", "quartz.", correct="B")))

    assert (stored.answer, stored.choices) == ("Halite", ["Halite", "Quartz"])


def test_four_equal_choices_leave_no_multiple_choice_pair_and_drop_the_answer():
    finished = finish(with_choices("Halite", "halite", "HALITE", "halite."))

    assert finished.reason == "invalid_schema"
    assert "multiple_choice" in finished.detail


def test_a_cut_choice_is_left_out_and_a_cut_answer_spoils_its_pair():
    cut = "c" * 50

    assert multiple_choice(to_structured(with_choices(cut, "Halite", "Talc", "Quartz"))).choices == [
        "Halite",
        "Talc",
        "Quartz",
    ]
    assert finish(with_choices("Talc", cut, "Halite", "Quartz")).reason == "invalid_schema"


def test_a_cut_sentence_is_left_out_of_an_answer():
    answer = "In the sea. " + "It is also found " * 20

    stored = to_structured(wire(open_ended=[{**OPEN, "answer": answer[:199] + "."}]))

    assert stored.qa_pairs[1].answer == "In the sea."


def test_a_cut_question_spoils_its_pair():
    cut = ("Where is salt found, if not " + "in the sea and " * 20)[:129] + "?"

    finished = finish(wire(open_ended=[{**OPEN, "question": cut}]))

    assert finished.reason == "invalid_schema"
    assert "open_ended" in finished.detail


def test_what_follows_a_question_is_left_out():
    stored = to_structured(wire(open_ended=[{**OPEN, "question": "Where is salt found? In the sea?"}]))

    assert stored.qa_pairs[1].question == "Where is salt found?"


def test_the_grammar_admits_no_question_without_a_question_mark():
    with pytest.raises(ValidationError, match="question"):
        wire(open_ended=[{**OPEN, "question": "Salt is found where."}])


@pytest.mark.parametrize(
    ("explanation", "answer"),
    [
        ("Yes, it is a mineral.", "Yes. It is a mineral."),
        ("No one doubts that it is.", "Yes. No one doubts that it is."),
    ],
)
def test_an_explanation_does_not_say_yes_twice(explanation, answer):
    assert to_structured(wire(yes_no=[{**YES_NO, "explanation": explanation}])).qa_pairs[0].answer == answer


def test_an_explanation_that_contradicts_its_answer_spoils_the_pair():
    assert finish(wire(yes_no=[{**YES_NO, "explanation": "No, it is a plant."}])).reason == "invalid_schema"


def test_a_question_is_asked_once_in_its_type():
    again = {**OPEN, "question": "where is SALT found?", "answer": "Somewhere else."}

    assert len(to_structured(wire(open_ended=[OPEN, again])).qa_pairs) == 3


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([pair("yes_no"), pair("open_ended")], "at least 3"),
        ([pair("yes_no"), pair("open_ended"), pair("open_ended", question="Else?")], "multiple_choice"),
        ([pair("yes_no", choices=["Yes", "No"]), pair("open_ended"), pair("multiple_choice")], "no others do"),
        ([pair("yes_no"), pair("open_ended"), pair("multiple_choice", choices=None)], "have choices"),
        ([pair("yes_no"), pair("open_ended"), pair("multiple_choice", choices=["Halite"])], "at least 2 choices"),
        (
            [pair("yes_no"), pair("open_ended"), pair("multiple_choice", choices=["Halite", "halite"])],
            "all different",
        ),
        ([pair("yes_no"), pair("open_ended"), pair("multiple_choice", answer="Quartz")], "none of the choices"),
        ([pair("yes_no", answer="Perhaps."), pair("open_ended"), pair("multiple_choice")], "Yes or No"),
        ([pair("yes_no", answer="Nobody."), pair("open_ended"), pair("multiple_choice")], "Yes or No"),
    ],
)
def test_a_structure_that_breaks_a_promise_is_refused(pairs, message):
    with pytest.raises(ValidationError, match=message):
        DiverseQA.model_validate({"qa_pairs": pairs})


def test_the_training_text_lists_choices_before_the_answer():
    blocks = to_text(to_structured(wire()), CONTEXT).split("\n\n")

    assert sorted(blocks) == [
        "Question: Is salt a mineral?\nAnswer: Yes. Salt is the mineral halite.",
        "Question: What is the name of rock salt?\nA) Calcite\nB) Halite\nC) Quartz\nD) Talc\nAnswer: B) Halite",
        "Question: Where is salt found?\nAnswer: In the sea and in beds of rock.",
    ]


def test_the_order_of_pairs_depends_on_the_request_and_on_nothing_else():
    stored = to_structured(wire())
    orders = {to_text(stored, AnswerContext("", "", f"key {number}")) for number in range(40)}

    assert len(orders) == 6
    assert to_text(stored, CONTEXT) == to_text(stored, AnswerContext("Other", "Other text.", CONTEXT.request_key))


def test_the_pairs_of_several_segments_are_joined_in_order():
    first = to_structured(wire())
    second = to_structured(wire(open_ended=[{**OPEN, "question": "What is brine?"}]))

    assert merge_structured([first, second]).qa_pairs == [*first.qa_pairs, *second.qa_pairs]


def test_questions_are_written_before_their_answers():
    definitions = json.loads(STRATEGY.response_schema or "")["$defs"]

    assert [next(iter(definitions[name]["properties"])) for name in definitions] == ["question"] * 3
    assert list(definitions["WireMultipleChoice"]["properties"])[-1] == "correct"


def test_the_largest_answer_fits_the_output_budget():
    question, explanation, answer = "q" * 129 + "?", "e" * 129 + ".", "a" * 199 + "."
    choices = {f"choice_{letter}": "c" * 50 for letter in "abcd"}
    largest = WireDiverseQA.model_validate(
        {
            "yes_no": [{"question": question, "answer": "Yes", "explanation": explanation}] * 2,
            "open_ended": [{"question": question, "answer": answer}] * 2,
            "multiple_choice": [{"question": question, "correct": "A", **choices}] * 2,
        }
    )

    # SmolLM2's tokenizer makes 4.1 characters a token of such an answer filled with encyclopedic prose.
    assert len(json.dumps(largest.model_dump())) / 4.1 < STRATEGY.limits.max_output_tokens
