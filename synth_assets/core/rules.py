"""The clean-up rules that a strategy picks from: each takes one habit of chat models out of an answer.

In: rules `(answer, context) -> answer`, idempotent, which only ever remove. What would leave nothing stays,
for it may be all the model had to say; only thoughts go in any case. Out: Markdown (`markdown`), which rules
an answer needs (the strategies), and what it is worth (`postprocessing`).
"""

from __future__ import annotations

import re
from functools import wraps

from synth_assets.core.markdown import strip_markdown
from synth_assets.core.sentences import sentence_ends
from synth_assets.core.strategy import AnswerContext, Rule

_LONGEST_ASIDE = 300
"""Characters: announcements and closings of chat models are one short sentence; a longer one is content."""

_THINKING_START = re.compile(r"\s*<think(?:ing)?>", re.IGNORECASE)
_THINKING_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]*+(?:`{3,}+|~{3,}+)[^\n`]*+(?:\n|\Z)", re.MULTILINE)
_QUOTES = (('"', '"'), ("“", "”"), ("«", "»"), ("„", "“"))
_LIST_MARKER = re.compile(r"\s*+(?:(?:[-*•‣◦▪–—+]|\(?\d{1,3}[.)]|\(?[a-z]\))[ \t]++)+", re.IGNORECASE)

_GREETING = re.compile(
    r"\s*(?:sure(?: thing)?|certainly|of course|absolutely|okay|great|no problem)"
    r"(?:!+|[,.](?=\s*(?:here|below)\b)|[,.][ \t]*(?=\n))\s*",
    re.IGNORECASE,
)
# The labels of the prompt, which a weak model repeats before it starts, at times under a title of its own.
_PROMPT_ECHO = re.compile(r"\s*+(?:[^\n]{1,120}\n\s*+){0,2}?title:[^\n]{0,300}\n\s*+(?:passage|text):", re.IGNORECASE)
_ANNOUNCES = re.compile(
    r"(?:here(?:['’]s| is| are)|below (?:is|are)|the following (?:is|are)|i(?:['’]ve| have) \w+)\b",
    re.IGNORECASE,
)
_ANNOUNCED = re.compile(
    r"\b(?:re-?phras|paraphras|re-?writ|re-?word|summar|condens|distill|simplif|extract|explan|version|passage"
    r"|text|article|entry|list|facts?\b|knowledge|points|response|answer|output)",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"(?:the |a |my |your )?(?:(?:re-?phrased|paraphrased|re-?written|re-?worded|revised|condensed|distilled"
    r"|extracted|simplified)(?: \w+){0,5}|(?:key |list of )?facts|summary|output|response|answer|passage|text"
    r"|article|explanation)",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"(?:i hope (?:this|that|it|these|you)|hope this|(?:please )?(?:let me know|feel free)"
    r"|is there anything else|would you like (?:me|more|any)|do you (?:want|need) (?:me|any)"
    r"|if you (?:have any|need any|need more|would like)|if you['’]d like"
    r"|(?:please )?note:? (?:that )?(?:i|this (?:is a )?(?:re-?|para|summar)\w+|the (?:re-?|para)\w+)"
    r"|this (?:re-?phrased|re-?written|re-?worded|paraphrased)"
    r"|(?:the author|the passage|the text|i) (?:has |have |was |is )(?:been )?(?:re-?phras|re-?writ|paraphras)\w+)\b",
    re.IGNORECASE,
)
_MARKUP = '*_#>()[]"“” \t'


def _until_stable(rule: Rule) -> Rule:
    """Apply a rule that only removes as often as it removes something."""

    @wraps(rule)
    def stable(answer: str, context: AnswerContext) -> str:
        while (shorter := rule(answer, context)) != answer:
            answer = shorter
        return answer

    return stable


def strip_thinking(answer: str, context: AnswerContext) -> str:
    """All up to the last `</think>`; the whole answer where a leading `<think>` is never closed."""
    answered = _THINKING_END.split(answer)[-1]
    return "" if _THINKING_START.match(answered) else answered.strip()


@_until_stable
def strip_opening(answer: str, context: AnswerContext) -> str:
    """An announcement at the start: "Sure!", "Here is a rephrased version …:", "Paraphrased text:"."""
    answer = answer.strip()
    if start := _GREETING.match(answer) or _PROMPT_ECHO.match(answer):
        return answer[start.end() :].strip() or answer
    line, _, below = answer.partition("\n")
    whole_line = line.strip(_MARKUP)
    if whole_line.endswith(":") or ":" not in line:
        head, rest = whole_line.rstrip(":"), ""
    else:
        head, _, rest = line.partition(":")
    words = head.strip(_MARKUP)
    if len(words) > _LONGEST_ASIDE:
        return answer
    is_label = _LABEL.fullmatch(words) and (":" in line or line.startswith(("#", "**")))
    if is_label or (_ANNOUNCES.match(words) and _ANNOUNCED.search(words)):
        # What is left of the bold that the label was in: "**Summary:** The river …".
        content = re.sub(r"^[*_]{1,3}(?=\s)", "", rest).strip()
        return content + answer[len(line) :] if content else below.strip() or answer
    return answer


@_until_stable
def strip_closing(answer: str, context: AnswerContext) -> str:
    """Chat behind the content: "I hope this helps!", "Let me know if …", "Note that I have kept …"."""
    answer = answer.strip()
    start = max(answer.rfind("\n") + 1, len(answer) - 2 * _LONGEST_ASIDE)
    last = max((end for end in sentence_ends(answer, start) if end < len(answer)), default=start)
    sentence = answer[last:].lstrip(_MARKUP)
    if len(sentence) <= _LONGEST_ASIDE and _CLOSING.match(sentence):
        return answer[:last].rstrip() or answer
    return answer


@_until_stable
def strip_title(answer: str, context: AnswerContext) -> str:
    """The document's title as a line of its own above the content, as a heading, in bold or as "Title: …"."""
    line, _, below = answer.strip().partition("\n")
    words = re.sub(r"^title\s*:", "", line.strip(_MARKUP), flags=re.IGNORECASE).strip(_MARKUP + ":")
    if below and words and words.casefold() == context.title.strip(_MARKUP + ":").casefold():
        return below.strip()
    return answer.strip()


@_until_stable
def strip_quotes(answer: str, context: AnswerContext) -> str:
    """One pair of quotation marks round the whole answer, or an opening one that a cut left alone."""
    answer = answer.strip()
    for opening, closing in _QUOTES:
        if not answer.startswith(opening):
            continue
        end = answer.find(closing, 1)
        if end == -1 and opening not in answer[1:]:
            return answer[1:].strip() or answer
        if end == len(answer) - 1:
            return answer[1:-1].strip() or answer
    return answer


def strip_fence(answer: str, context: AnswerContext) -> str:
    """One code fence round the whole answer; its closing line may be missing where the answer was cut."""
    answer = answer.strip()
    if not answer.startswith(("```", "~~~")):
        return answer
    fences = [match.span() for match in _FENCE.finditer(answer)]
    if not fences or len(fences) > 2 or fences[0][0] != 0 or (len(fences) == 2 and fences[1][1] != len(answer)):
        return answer
    inner = answer[fences[0][1] : fences[1][0] if len(fences) == 2 else None]
    return inner.strip() or answer


@_until_stable
def strip_list_markers(answer: str, context: AnswerContext) -> str:
    """Bullets and numbers before the lines of a list, and lines without a letter or digit between them."""
    lines = (_without_marker(line).strip() for line in answer.split("\n"))
    return "\n".join(line for line in lines if any(map(str.isalnum, line))) or answer.strip()


def _without_marker(line: str) -> str:
    # Not `sub`: where there is no match it would try every place of the line.
    marker = _LIST_MARKER.match(line)
    return line[marker.end() :] if marker else line


PROSE_RULES: tuple[Rule, ...] = (
    strip_thinking,
    strip_fence,
    strip_opening,
    strip_closing,
    strip_markdown,
    strip_title,
    strip_quotes,
)
"""For strategies whose answer is plain text and nothing else."""
