"""One row of a Curator output: what makes it a document, and why it is none.

In: the fields, their types, the identity of a document. Out: file formats (`documents`). Values are kept as
they are; what storage cannot hold is refused by name and never repaired.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

CURATOR_COLUMNS = (
    "text", "title", "id", "url", "language", "source_id", "file_name", "categories",
    "license", "licence", "attribution", "source",
)  # fmt: skip
"""What is read; every other column is ignored. Only `text` is required."""

_MAX_CATEGORY_LIST_CHARS = 100_000
"""A longer `categories` string is taken as one category: evaluating a literal costs many times its size."""

_KINDS = {bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object"}


@dataclass(frozen=True, slots=True)
class CuratorDocument:
    """One document as Curator wrote it. `row_number` counts lines (blank ones too) or Parquet rows from 1."""

    document_id: str
    curator_file: str
    row_number: int
    source_id: str | None
    """Curator's `id`, or its `source_id` where there is no `id`: `source_id` often names the whole dump."""
    title: str
    """Empty where there is none."""
    text: str
    url: str | None
    language: str | None
    categories: tuple[str, ...]
    file_name: str | None
    license: str | None = None
    """As the row states it, under `license` or `licence`."""
    attribution: str | None = None
    """Whom to name, as the row states it: its `attribution`, or its `source` where there is none."""


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """One row that gives no document: `detail` says in words what is wrong with it."""

    curator_file: str
    row_number: int
    reason: Literal["unreadable_row", "missing_text"]
    detail: str


def document_id(title: str, text: str) -> str:
    """Identity of a document: 32 hex digits of its title and text, whichever file or row they stand in."""
    title_bytes = title.encode()
    found = hashlib.blake2b(len(title_bytes).to_bytes(8, "little"), digest_size=16)
    found.update(title_bytes)
    found.update(text.encode())
    return found.hexdigest()


def make_document(row: Mapping[str, Any], curator_file: str, row_number: int) -> CuratorDocument | UnreadableRow:
    """The document in one decoded row, or why there is none."""
    text = row.get("text")
    if not isinstance(text, str) or not text.strip():
        return UnreadableRow(curator_file, row_number, "missing_text", _why_no_text(row))
    fields = {name: _as_text(row.get(name)) for name in CURATOR_COLUMNS if name not in ("text", "categories")}
    categories = _categories(row.get("categories"))
    stored = [("text", text), *fields.items(), *(("categories", category) for category in categories)]
    for name, value in stored:
        if value is not None and (fault := _storage_fault(value)):
            return UnreadableRow(curator_file, row_number, "unreadable_row", f"`{name}` {fault}")
    title = fields["title"] or ""
    return CuratorDocument(
        document_id=document_id(title, text),
        curator_file=curator_file,
        row_number=row_number,
        source_id=fields["id"] or fields["source_id"],
        title=title,
        text=text,
        url=fields["url"],
        language=fields["language"],
        categories=categories,
        file_name=fields["file_name"],
        license=fields["license"] or fields["licence"],
        attribution=fields["attribution"] or fields["source"],
    )


def _why_no_text(row: Mapping[str, Any]) -> str:
    if "text" not in row:
        return "there is no field `text`"
    text = row["text"]
    if text is None:
        return "`text` is null"
    if isinstance(text, str):
        return "`text` has only white space" if text else "`text` is empty"
    return f"`text` is {_KINDS.get(type(text), type(text).__name__)}, not a string"


def _as_text(value: Any) -> str | None:
    """A missing value (null, or NaN as pandas writes it) is None; what is no string becomes its JSON text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value != value:
        return None
    return json.dumps(value, ensure_ascii=False, default=str)


def _categories(value: Any) -> tuple[str, ...]:
    """A list, or text: Curator's JSONL has the list as it prints in Python, others as JSON or as one name."""
    if isinstance(value, str):
        value = _parsed_list(value)
    if isinstance(value, list | tuple):
        texts = (_as_text(part) for part in value)
        return tuple(text for text in texts if text)
    text = _as_text(value)
    return (text,) if text else ()


def _parsed_list(text: str) -> Any:
    if text.startswith("[") and len(text) <= _MAX_CATEGORY_LIST_CHARS:
        for parse in (json.loads, ast.literal_eval):
            try:
                return parse(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    return text


def _storage_fault(value: str) -> str | None:
    """Tables hold UTF-8 without NUL (PostgreSQL refuses that character, too)."""
    position = value.find("\0")
    if position >= 0:
        return f"holds a NUL character at position {position + 1}, which cannot be stored"
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            code = ord(value[error.start])
            return f"holds half a surrogate pair (U+{code:04X}) at position {error.start + 1}, which is no text"
    return None
