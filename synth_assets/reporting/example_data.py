"""Whole documents for the report: the source, what each strategy made of it, and what is new in that.

In: which documents, and their texts as runs to mark. Out: how new words are found (`differences`), the page (`page`).
"""

# ruff: noqa: S608 - what is put into SQL is constants of this project; values are parameters.

from __future__ import annotations

from dataclasses import dataclass

from resources.lake import Lake
from synth_assets.core.mixture import ORIGINAL
from synth_assets.core.tables import CURATED_DOCUMENTS, MERGED_DOCUMENTS
from synth_assets.reporting.data import TEXT_CHARS, Rows, rows_of
from synth_assets.reporting.differences import Run, runs

COMPARED_CHARS = 200_000
"""Of each text; a book would otherwise be split into words for a page that shows its beginning."""


@dataclass(frozen=True)
class Example:
    """One seed document and its texts by strategy, the original first.

    Each text has `runs`, `shown_chars` characters of `char_count`; those of the original are all `other`.
    """

    document_id: str
    title: str
    url: str | None
    texts: Rows


def examples(lake: Lake, count: int = 4) -> list[Example]:
    """The shortest documents among those that the most strategies have a text of."""
    if not lake.has_table(MERGED_DOCUMENTS.name):
        return []
    chosen = rows_of(
        lake,
        f"""SELECT document_id, min(curator_file) AS curator_file, count(DISTINCT strategy) AS strategy_count
        FROM {MERGED_DOCUMENTS.name} GROUP BY document_id HAVING count(DISTINCT strategy) > 1
        ORDER BY strategy_count DESC, sum(char_count) FILTER (strategy = 'original'), document_id LIMIT ?""",
        [count],
    )
    return [_example(lake, row["document_id"], row["curator_file"]) for row in chosen]


def _example(lake: Lake, document_id: str, curator_file: str) -> Example:
    texts = rows_of(
        lake,
        f"""SELECT merged_id, strategy, title, left(text, ?) AS text, char_count, token_count
        FROM {MERGED_DOCUMENTS.name} WHERE document_id = ? AND curator_file = ?
        ORDER BY strategy <> 'original', strategy""",
        [COMPARED_CHARS, document_id, curator_file],
    )
    source = next((row["text"] for row in texts if row["strategy"] == ORIGINAL), None)
    for row in texts:
        row |= _shown(None if row["strategy"] == ORIGINAL else source, row.pop("text") or "")
    url = None
    if lake.has_table(CURATED_DOCUMENTS.name):
        found = rows_of(lake, f"SELECT url FROM {CURATED_DOCUMENTS.name} WHERE document_id = ? LIMIT 1", [document_id])
        url = found[0]["url"] if found else None
    return Example(document_id, texts[0]["title"] or "Untitled", url, texts)


def _shown(source: str | None, text: str) -> dict[str, object]:
    """What the page shows of a text: all of one kind where there is no source to compare it with."""
    found = [Run(text[:TEXT_CHARS], "other")] if source is None else runs(source, text, TEXT_CHARS)
    shown = sum(len(run.text) for run in found)
    return {"runs": found, "shown_chars": shown}
