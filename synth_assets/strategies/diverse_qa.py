"""Diverse question-answer pairs: yes/no, open-ended and multiple-choice, grounded in the passage.

In: the stored schema (`DiverseQA`), the wire schema that constrains decoding (`WireDiverseQA`), the way from
one to the other, and the training text. The wire schema has a list for each type and named choices, so that
what no grammar expresses (choices only for multiple choice, the answer among them) holds by construction.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field, model_validator

from synth_assets.core.gates import standard_gates
from synth_assets.core.markdown import strip_markdown
from synth_assets.core.sentences import sentence_ends
from synth_assets.core.strategy import AnswerContext, Strategy, TokenLimits

QuestionType = Literal["yes_no", "open_ended", "multiple_choice"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CHOICE_LABEL = re.compile(r"^\(?[A-Da-d][).:]\s+")
_YES_OR_NO = re.compile(r"(?:yes|no)\b", re.IGNORECASE)
_YES_OR_NO_REPEATED = re.compile(r"(yes|no)\s*[,.:;!–—-]+\s*", re.IGNORECASE)


class QAPair(BaseModel):
    """One question with its answer; `choices` only and always for multiple choice, the answer one of them."""

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    question_type: QuestionType
    choices: list[str] | None = None

    @model_validator(mode="after")
    def _type_fits_answer(self) -> QAPair:
        if (self.choices is not None) != (self.question_type == "multiple_choice"):
            raise ValueError("multiple-choice questions have choices, and no others do")
        if self.choices is not None:
            if len(self.choices) < 2 or len({_same(choice) for choice in self.choices}) < len(self.choices):
                raise ValueError("at least 2 choices are needed, all different")
            if self.answer not in self.choices:
                raise ValueError("the answer is none of the choices")
        if self.question_type == "yes_no" and not _YES_OR_NO.match(self.answer):
            raise ValueError("the answer to a yes/no question begins with Yes or No")
        return self


class DiverseQA(BaseModel):
    """What the `structured` column holds: at least 3 pairs, at least one of each type."""

    qa_pairs: list[QAPair] = Field(min_length=3)

    @model_validator(mode="after")
    def _has_every_type(self) -> DiverseQA:
        _require_every_type(self.qa_pairs)
        return self


def _require_every_type(pairs: Iterable[QAPair]) -> None:
    """Raise ValueError that names the types of which there is no pair."""
    if missing := sorted({*get_args(QuestionType)} - {pair.question_type for pair in pairs}):
        raise ValueError(f"no valid pair of type {', '.join(missing)}")


# Bounds keep a weak model from rambling until max_tokens cuts the JSON; what reaches its bound was cut there.
# Patterns make a question end in a question mark and an answer in a full stop. They carry the bounds themselves,
# as vLLM's grammars take no maxLength beside a pattern, and leave out what a JSON string must escape.
_QUESTION_CHARS, _EXPLANATION_CHARS, _ANSWER_CHARS, _CHOICE_CHARS = 130, 130, 200, 50

_CHARACTER = r'[^"\\\x00-\x1f]'
_END = "[.!。]"

_Question = Annotated[str, Field(pattern=rf"^{_CHARACTER}{{8,{_QUESTION_CHARS - 1}}}[?？؟]$")]
_Explanation = Annotated[str, Field(pattern=rf"^{_CHARACTER}{{8,{_EXPLANATION_CHARS - 1}}}{_END}$")]
_Answer = Annotated[str, Field(pattern=rf"^{_CHARACTER}{{8,{_ANSWER_CHARS - 1}}}{_END}$")]
_Choice = Annotated[str, Field(min_length=1, max_length=_CHOICE_CHARS)]


class WireYesNo(BaseModel):
    """A yes/no question."""

    question: _Question
    answer: Literal["Yes", "No"]
    explanation: _Explanation


class WireOpenEnded(BaseModel):
    """A question answered in one or two sentences."""

    question: _Question
    answer: _Answer


class WireMultipleChoice(BaseModel):
    """A question with four choices."""

    question: _Question
    choice_a: _Choice
    choice_b: _Choice
    choice_c: _Choice
    choice_d: _Choice
    correct: Literal["A", "B", "C", "D"]


class WireDiverseQA(BaseModel):
    """What the server's grammar admits."""

    yes_no: list[WireYesNo] = Field(min_length=1, max_length=2)
    open_ended: list[WireOpenEnded] = Field(min_length=1, max_length=2)
    multiple_choice: list[WireMultipleChoice] = Field(min_length=1, max_length=2)


def to_structured(wire: BaseModel) -> DiverseQA:
    """The valid pairs of a wire answer, each question once a type; ValueError when a type has none."""
    assert isinstance(wire, WireDiverseQA)
    pairs: dict[tuple[str, str], QAPair] = {}
    for pair in _valid_pairs(wire):
        pairs.setdefault((pair.question_type, _same(pair.question)), pair)
    _require_every_type(pairs.values())
    return DiverseQA(qa_pairs=list(pairs.values()))


def to_text(structured: BaseModel, context: AnswerContext) -> str:
    """Blocks "Question: …", "A) …" for each choice, "Answer: …", in an order that the request key decides."""
    assert isinstance(structured, DiverseQA)
    pairs = list(structured.qa_pairs)
    random.Random(context.request_key).shuffle(pairs)  # noqa: S311 (no secret: the order only has to be repeatable)
    return "\n\n".join(_block(pair) for pair in pairs)


def merge_structured(answers: list[BaseModel]) -> DiverseQA:
    """The pairs of all segments, in order."""
    return DiverseQA(qa_pairs=[pair for answer in answers if isinstance(answer, DiverseQA) for pair in answer.qa_pairs])


def _block(pair: QAPair) -> str:
    choices = [f"{letter}) {choice}" for letter, choice in zip(_LETTERS, pair.choices or (), strict=False)]
    letter = f"{_LETTERS[pair.choices.index(pair.answer)]}) " if pair.choices else ""
    return "\n".join([f"Question: {pair.question}", *choices, f"Answer: {letter}{pair.answer}"])


def _valid_pairs(wire: WireDiverseQA) -> Iterator[QAPair]:
    for item in wire.yes_no:
        question, answer = _whole_question(item.question), _yes_no_answer(item)
        if question and answer:
            yield QAPair(question=question, answer=answer, question_type="yes_no")
    for item in wire.open_ended:
        question, answer = _whole_question(item.question), _whole_sentences(item.answer, _ANSWER_CHARS)
        if question and answer:
            yield QAPair(question=question, answer=answer, question_type="open_ended")
    for item in wire.multiple_choice:
        question = _whole_question(item.question)
        answer, choices = _distinct_choices(item)
        if question and answer and len(choices) >= 2:
            yield QAPair(question=question, answer=answer, question_type="multiple_choice", choices=choices)


def _yes_no_answer(item: WireYesNo) -> str:
    """ "Yes. Because …"; "" where the explanation says the opposite of the answer."""
    repeated = _YES_OR_NO_REPEATED.match(item.explanation)
    if repeated and repeated[1].casefold() != item.answer.casefold():
        return ""
    explanation = _whole_sentences(item.explanation, _EXPLANATION_CHARS)
    explanation = explanation[repeated.end() :] if repeated else explanation
    return f"{item.answer}. {explanation[:1].upper()}{explanation[1:]}".strip()


def _distinct_choices(item: WireMultipleChoice) -> tuple[str, list[str]]:
    """The correct choice, "" if it was cut, and all whole choices, each once, as the correct one is spelt."""
    named = {"A": item.choice_a, "B": item.choice_b, "C": item.choice_c, "D": item.choice_d}
    whole = {letter: "" if len(text) >= _CHOICE_CHARS else text for letter, text in named.items()}
    texts = {letter: _CHOICE_LABEL.sub("", text).strip() for letter, text in whole.items()}
    answer = texts[item.correct]
    distinct: dict[str, str] = {}
    for text in texts.values():
        if text:
            distinct.setdefault(_same(text), answer if _same(text) == _same(answer) else text)
    return answer, list(distinct.values())


def _whole_question(question: str) -> str:
    """The question up to its first question mark; "" when the length bound cut it."""
    question = " ".join(question.split())
    ends = [at for mark in "?？؟" if (at := question.find(mark)) >= 0]
    return question[: min(ends) + 1] if ends and len(question) < _QUESTION_CHARS else ""


def _whole_sentences(text: str, bound: int) -> str:
    """Text without the sentence that the length bound cut, if it did."""
    kept = text if len(text) < bound else text[: max(sentence_ends(text[:-1]), default=0)]
    return " ".join(kept.split())


def _same(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")


STRATEGY = Strategy(
    name="diverse_qa",
    title="Diverse QA",
    description="Yes/no, open-ended and multiple-choice questions on the passage, with their answers.",
    source="Nemotron-CC (arXiv:2412.02595); token limits of NeMo Curator's nemotron_cc stages",
    instructions=(
        "Write a quiz about the text that the user gives. Reply with JSON in this form and nothing else:\n"
        # The form keeps a weak model from writing digits or key names into the strings that the grammar demands;
        # an example with real contents would have it write about those.
        '{"yes_no": [{"question": a question that yes or no answers, "answer": Yes or No, "explanation": one '
        'sentence}], "open_ended": [{"question": another question, "answer": one or two sentences}], '
        '"multiple_choice": [{"question": another question, "choice_a": a few words, "choice_b": a few other '
        'words, "choice_c": …, "choice_d": …, "correct": the letter of the right choice}]}\n'
        "Write one or two questions of each kind, each about a different fact, in the language of the text. "
        "Every answer must follow from the text alone. Each question must make sense without the text: name "
        "what it asks about."
    ),
    request="Write questions and answers about this text.\n\nTitle: {title}\n\nText:\n{segment}",
    sampling_temperature=0.5,
    sampling_top_p=0.9,
    limits=TokenLimits(
        min_document_tokens=30,
        min_segment_tokens=30,
        max_input_tokens=1000,
        max_output_tokens=598,
        min_final_tokens=100,
    ),
    rules=(strip_markdown,),
    on_truncation="drop",
    # A few pairs may stand for a long passage.
    gates=standard_gates(least_ratio=0.01),
    # Each pair stands alone, so the pairs of other segments lose nothing when one gives none.
    is_segment_independent=True,
    can_follow_source=True,
    wire_model=WireDiverseQA,
    to_structured=to_structured,
    to_text=to_text,
    merge_structured=merge_structured,
)
