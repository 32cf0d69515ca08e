"""What the fake model answers: deterministic text and schema-valid JSON, made from the words of the prompt.

In: the token rule, free text, structured answers. Out: HTTP (`resources.fake_server`) and misbehaviour
(`resources.fake_behaviour`). The same messages and schema always give the same answer, and two system prompts give
different ones.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resources.inference import FinishReason

TEMPLATE_TOKENS_PER_MESSAGE = 4
"""What the fake chat template adds to each message, as a real one does."""

_TOKEN = re.compile(r"\w+|[^\w\s]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_LONG_LINE_CHARS = 60
_MIN_ANSWER_TOKENS = 70
_OPENERS = (
    "Put simply, ",
    "In other words, ",
    "As is well documented, ",
    "To begin with, ",
    "Notably, ",
    "In short, ",
    "Seen from another side, ",
    "It is worth knowing that ",
    "Historically speaking, ",
    "By most accounts, ",
    "Taken together, ",
    "In practice, ",
)


class FakeTokenizer:
    """Counts as the fake server does: a run of word characters is a token, and so is any other visible character."""

    @property
    def name(self) -> str:
        """Name of the token rule."""
        return "fake-word-tokenizer"

    @property
    def fingerprint(self) -> str:
        """The name: there is one such rule."""
        return self.name

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text."""
        return [sum(1 for _ in _TOKEN.finditer(text)) for text in texts]


@dataclass(frozen=True)
class FakeAnswer:
    """One answer: its text, `finish_reason` as the server would set it, and its length in tokens."""

    text: str
    finish_reason: FinishReason
    token_count: int


def prompt_token_count(messages: Sequence[Mapping[str, Any]]) -> int:
    """Tokens of a prompt: its contents and the chat template's share."""
    counts = FakeTokenizer().count_tokens([content_text(message) for message in messages])
    return sum(counts) + TEMPLATE_TOKENS_PER_MESSAGE * len(messages)


def content_text(message: Mapping[str, Any]) -> str:
    """The text of a message whose content is a string or a list of typed blocks."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(block.get("text", "") for block in content if block.get("type") == "text")


def answer(
    messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None, max_tokens: int, draw: int = 0
) -> FakeAnswer:
    """Answer a prompt, cut at `max_tokens`: always the same for the same arguments.

    Raises ValueError for a schema keyword that is not supported.
    """
    source = content_text(messages[-1]) if messages else ""
    drawn = f"#{draw}" if draw else ""
    canonical = json.dumps([list(map(dict, messages)), schema], sort_keys=True) + drawn
    rng = _rng(canonical)
    if schema is not None:
        text = json.dumps(_SchemaSampler(schema, rng, source.split()).sample(schema), ensure_ascii=False)
    else:
        system = "\n".join(content_text(message) for message in messages if message.get("role") == "system")
        text = _free_text(source, system + drawn, rng, max_tokens)
    return cut(text, max_tokens)


def cut(text: str, max_tokens: int) -> FakeAnswer:
    """The first `max_tokens` tokens of a text, with finish_reason `length` where something was left off."""
    ends = [match.end() for match in _TOKEN.finditer(text)]
    if len(ends) <= max_tokens:
        return FakeAnswer(text, "stop", len(ends))
    return FakeAnswer(text[: ends[max_tokens - 1]] if max_tokens else "", "length", max_tokens)


def _rng(seed: str) -> random.Random:
    return random.Random(hashlib.blake2b(seed.encode(), digest_size=8).digest())  # noqa: S311 - no secret


def _free_text(source: str, system: str, rng: random.Random, max_tokens: int) -> str:
    """Sentences of the source in new clothes: 0.6 to 0.9 of its length, and never under 70 tokens unless cut."""
    voice = _rng(system)
    openers = voice.sample(_OPENERS, len(_OPENERS))
    lines = [line for line in source.splitlines() if len(line) >= _LONG_LINE_CHARS] or [source or "Nothing."]
    sentences = [part.strip() for line in lines for part in _SENTENCE_END.split(line) if part.strip()]
    budget = min(max_tokens, max(_MIN_ANSWER_TOKENS, int(voice.uniform(0.6, 0.9) * _count(source))))
    is_list = re.search(r"\b(bullet|list)", system, re.IGNORECASE) is not None
    pieces: list[str] = []
    used = 0
    while True:
        sentence = sentences[len(pieces) % len(sentences)]
        piece = openers[len(pieces) % len(openers)] + sentence[:1].lower() + sentence[1:]
        piece = ("- " if is_list else "") + piece + ("" if piece[-1] in ".!?" else ".")
        size = _count(piece)
        if pieces and used + size > budget:
            break
        pieces.append(piece)
        used += size
        if used >= budget:
            break
    text = ("\n" if is_list else " ").join(pieces)
    # Some answers carry what real models add, so that clean-up rules have something to do.
    if rng.random() < 0.25 and used + 8 <= max_tokens:
        text = "Here is the rewritten text:\n\n" + text
    return text


def _count(text: str) -> int:
    return sum(1 for _ in _TOKEN.finditer(text))


_UNSUPPORTED = ("multipleOf", "uniqueItems", "not", "if", "patternProperties", "minProperties")


class _SchemaSampler:
    """Builds one valid instance of a JSON schema of the kind Pydantic writes."""

    def __init__(self, root: Mapping[str, Any], rng: random.Random, words: list[str]) -> None:
        self._root = root
        self._rng = rng
        self._words = words or ["something"]

    def sample(self, node: Mapping[str, Any], name: str = "", index: int = 0) -> Any:
        """An instance of `node`; `index` is its place in a list, so that a list shows every choice in turn."""
        node = self._resolved(node)
        if found := [key for key in _UNSUPPORTED if key in node]:
            raise ValueError(f"The fake model cannot honour the schema keyword {found[0]!r}.")
        if "const" in node:
            return node["const"]
        if "enum" in node:
            return node["enum"][index % len(node["enum"])]
        if choices := node.get("anyOf") or node.get("oneOf"):
            with_value = [choice for choice in choices if choice.get("type") != "null"] or choices
            return self.sample(with_value[index % len(with_value)], name, index)
        kind = node.get("type", "object" if "properties" in node else "string")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        match kind:
            case "object":
                return {key: self.sample(value, key, index) for key, value in node.get("properties", {}).items()}
            case "array":
                return self._array(node, name)
            case "string":
                return self._string(node, name)
            case "integer":
                return self._rng.randint(*self._integer_range(node))
            case "number":
                low = node.get("minimum", node.get("exclusiveMinimum", 0))
                high = node.get("maximum", node.get("exclusiveMaximum", low + 1))
                return (low + high) / 2
            case "boolean":
                return index % 2 == 0
        return None

    def _resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in node or "allOf" in node:
            if "$ref" in node:
                target: Any = self._root
                for step in node["$ref"].removeprefix("#/").split("/"):
                    target = target[step]
                parts = [target]
            else:
                parts = list(node["allOf"])
            rest = {key: value for key, value in node.items() if key not in ("$ref", "allOf")}
            node = {key: value for part in [*parts, rest] for key, value in part.items()}
        return node

    def _array(self, node: Mapping[str, Any], name: str) -> list[Any]:
        fixed = [self.sample(item, name, place) for place, item in enumerate(node.get("prefixItems", []))]
        size = max(node.get("minItems", 0), min(node.get("maxItems", 3), 3))
        if not isinstance(node.get("items"), Mapping):
            return fixed
        return fixed + [self.sample(node["items"], name, place) for place in range(len(fixed), size)]

    def _string(self, node: Mapping[str, Any], name: str) -> str:
        pattern = node.get("pattern")
        if pattern is None:
            return self._prose(node, name)
        for ending in ("", ".", "?", "!"):
            # A pattern leaves out what a JSON string must escape, as the grammars of real servers need it.
            text = re.sub(r'["\\]', "", self._prose(node, name)).rstrip(".?!") + ending
            if re.search(pattern, text):
                return text
        raise ValueError(f"The fake model finds no text for the schema pattern {pattern!r}.")

    def _prose(self, node: Mapping[str, Any], name: str) -> str:
        low, high = node.get("minLength", 0), node.get("maxLength", 10_000)
        start = self._rng.randrange(len(self._words))
        target = max(low, min(high, self._rng.randint(30, 90)))
        text = ""
        place = start
        while len(text) < target:
            text += ("" if not text else " ") + self._words[place % len(self._words)]
            place += 1
        ending = "?" if "question" in name else "."
        # One short of the bound: a text that reaches it counts as cut.
        text = text[: max(0, high - 2)].rstrip(" .,;:?!") + ending
        return text.ljust(low, "-")[:high]

    @staticmethod
    def _integer_range(node: Mapping[str, Any]) -> tuple[int, int]:
        low = node.get("minimum", node.get("exclusiveMinimum", -1) + 1)
        return low, node.get("maximum", node.get("exclusiveMaximum", low + 11) - 1)
