"""From a bought answer to training text, or to the reason why there is none.

In: `finish_segment`, which the generation calls for each segment, and its parts. Out: the single clean-up
rules (`rules`, `markdown`), joining segments, the minimum length of a document. Nothing here asks a model: a
change here costs no call. No rule cuts long answers: `max_tokens` already bounds them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from resources.inference import Completion
from synth_assets.core.rules import strip_fence, strip_thinking
from synth_assets.core.sentences import sentence_ends
from synth_assets.core.strategy import AnswerContext, Rule, Strategy

Model = TypeVar("Model", bound=BaseModel)

_LONGEST_REFUSAL = 600
"""Characters: a refusal is a few sentences; a longer answer has content, however it begins."""

_NEGATED = r"(?:can(?:no|['’])t|can not|won['’]t|will not|do(?: not|n['’]t) have)"
_REFUSAL = re.compile(
    r"\W*(?:(?:i['’]?m|i am) (?:really |very |so |truly )?(?:sorry|afraid)"
    r"|(?:sorry|unfortunately),? (?:but )?i|i apologi[sz]e|as an (?:ai|artificial intelligence)"
    rf"|i(?:['’]m| am) (?:an ai|unable|not able|not comfortable)|i (?:{_NEGATED}|must decline)"
    r"|(?:please|could you|can you) (?:please )?(?:provide|share|paste))\b",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    rf"\b(?:{_NEGATED}|unable|not able|not comfortable|decline)\b[^.!?]{{0,80}}"
    r"\b(?:help|assist|fulfill?|comply|do (?:that|this|so)|provide|generat\w+|creat\w+|(?:re-?)?writ\w+"
    r"|(?:re|para)phras\w+|summari[sz]\w+|process|access|answer|complete|continue|discuss|engage)\b"
    r"|\b(?:provide|share|paste) (?:me )?(?:with )?(?:the|a|your|more) (?:\w+ )?"
    r"(?:text|passage|article|document|information|context|content)\b",
    re.IGNORECASE,
)
_LIST_LINE = re.compile(r"[ \t]*(?:[-*•+]|\d{1,3}[.)])[ \t]+\S")


class UnusableAnswerError(Exception):
    """An answer that gives no output; `reason` is one of `tables.DROP_REASONS`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True)
class FinishedSegment:
    """Training text of one segment and its structure, or a drop: `reason` is None where there is text."""

    text: str = ""
    structured: BaseModel | None = None
    reason: str | None = None
    detail: str = ""


def finish_segment(completion: Completion, strategy: Strategy, context: AnswerContext) -> FinishedSegment:
    """Clean and check one answer.

    Reasons: `context_overflow` (the server refused the request), `truncated` (cut by max_tokens, and no whole
    sentence or no whole structure is left), `empty`, `refused`, `invalid_schema`. Raises ValueError for a
    completion that is a failure and not an answer.
    """
    try:
        if strategy.wire_model is None:
            return FinishedSegment(_finish_text(completion, strategy, context))
        return _finish_structured(completion, strategy, strategy.wire_model, context)
    except UnusableAnswerError as unusable:
        return FinishedSegment(reason=unusable.reason, detail=unusable.detail)


def parse_structured(completion: Completion, model: type[Model]) -> Model:
    """The answer as `model`; UnusableAnswerError where it is none."""
    text = strip_fence(_answered_text(completion), AnswerContext("", "", completion.request_key))
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        if completion.finish_reason == "length":
            raise UnusableAnswerError("truncated", _cut_detail(completion)) from error
        if looks_like_refusal(text):
            raise UnusableAnswerError("refused", _excerpt(text)) from error
        raise UnusableAnswerError("invalid_schema", describe(error)) from error


def clean(answer: str, context: AnswerContext, rules: Sequence[Rule]) -> str:
    """Apply the rules in order until none finds anything: what one removes may hide what another looks for.

    Ends, since rules only remove; so any choice of rules is idempotent.
    """
    while True:
        cleaned = answer.strip()
        for rule in rules:
            cleaned = rule(cleaned, context)
        if cleaned == answer:
            return cleaned
        answer = cleaned


def trim_to_sentence(text: str) -> str:
    """Cut text up to its last whole sentence or its last whole list item; "" if it has neither."""
    end = max(sentence_ends(text), default=0)
    last_break = text.rfind("\n")
    while last_break > end:
        line_start = text.rfind("\n", 0, last_break) + 1
        if _LIST_LINE.match(text, line_start, last_break):
            end = last_break
        last_break = line_start - 1
    return text[:end].rstrip()


def looks_like_refusal(text: str) -> bool:
    """Whether a short answer says that the model cannot or will not, or asks for the text it was given."""
    return len(text) <= _LONGEST_REFUSAL and bool(_REFUSAL.match(text)) and bool(_REFUSED.search(text))


def describe(error: ValueError) -> str:
    """What is wrong with a structured answer, in one line; of a validation error the first three places."""
    if not isinstance(error, ValidationError):
        return str(error)
    problems = error.errors(include_url=False, include_context=False, include_input=False)[:3]
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}".lstrip(": ") for problem in problems)


def _answered_text(completion: Completion) -> str:
    """The answer without its thoughts."""
    if completion.error_kind is not None:
        raise ValueError(f"request {completion.request_key} failed ({completion.error_kind}): there is no answer")
    if completion.finish_reason == "context_overflow":
        raise UnusableAnswerError("context_overflow", completion.error)
    text = strip_thinking(completion.text, AnswerContext("", "", completion.request_key))
    if completion.finish_reason == "content_filter":
        raise UnusableAnswerError("refused", "stopped by the server's content filter")
    if not text and completion.finish_reason == "length":
        raise UnusableAnswerError("truncated", _cut_detail(completion))
    if not text:
        raise UnusableAnswerError("empty", "only thoughts" if completion.text.strip() else "")
    return text


def _finish_text(completion: Completion, strategy: Strategy, context: AnswerContext) -> str:
    text = _answered_text(completion)
    if looks_like_refusal(text):
        raise UnusableAnswerError("refused", _excerpt(text))
    if completion.finish_reason == "length":
        text = trim_to_sentence(text) if strategy.on_truncation == "trim" else ""
        if not text:
            raise UnusableAnswerError("truncated", _cut_detail(completion))
    text = clean(text, context, strategy.rules)
    if not text:
        raise UnusableAnswerError("empty", "nothing left after clean-up")
    if looks_like_refusal(text):
        raise UnusableAnswerError("refused", _excerpt(text))
    return text


def _finish_structured(
    completion: Completion, strategy: Strategy, wire_model: type[BaseModel], context: AnswerContext
) -> FinishedSegment:
    wire = parse_structured(completion, wire_model)
    try:
        if strategy.rules:
            wire = wire_model.model_validate(_clean_strings(wire.model_dump(), context, strategy.rules))
        structured = strategy.to_structured(wire) if strategy.to_structured else wire
    except ValueError as error:
        raise UnusableAnswerError("invalid_schema", describe(error)) from error
    text = strategy.to_text(structured, context) if strategy.to_text else ""
    if not text:
        raise UnusableAnswerError("empty", "the structure gives no text")
    return FinishedSegment(text, structured)


def _clean_strings(value: Any, context: AnswerContext, rules: Sequence[Rule]) -> Any:
    if isinstance(value, str):
        return clean(value, context, rules)
    if isinstance(value, dict):
        return {key: _clean_strings(item, context, rules) for key, item in value.items()}
    return [_clean_strings(item, context, rules) for item in value] if isinstance(value, list) else value


def _cut_detail(completion: Completion) -> str:
    return f"cut after {completion.completion_tokens} tokens"


def _excerpt(text: str) -> str:
    return " ".join(text.split())[:120]
