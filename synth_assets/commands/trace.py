"""`synth trace`: from one training document back to its source, segments, prompts, calls and measures; or from one
source document to what became of it.

In: looking it up and printing it. Out: writing anything.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from resources.errors import SynthError
from resources.lake import Lake
from synth_assets.cli import emit
from synth_assets.commands.opening import open_project
from synth_assets.core.quality_tables import NEAR_DUPLICATES, TEXT_QUALITY
from synth_assets.core.tables import (
    CURATED_DOCUMENTS,
    DROPS,
    JUDGE_SCORES,
    MERGED_DOCUMENTS,
    PERPLEXITY,
    rephrased,
)
from synth_assets.project import Project


def trace_command(identity: str, as_json: bool) -> None:
    """Print everything behind one merged document, or what became of one source document."""
    project = open_project().project
    found = trace(project, identity) or trace_source(project, identity)
    if found is None:
        raise SynthError(
            f"There is no document {identity!r}.",
            'IDs are in merged.documents: synth query "SELECT merged_id, document_id, strategy, title FROM'
            ' merged.documents", and those of dropped documents in ledger.drops.',
        )
    if as_json:
        emit(found)
    else:
        print_trace(found, Console())


def print_trace(found: dict[str, Any], console: Console) -> None:
    """Print what `trace` or `trace_source` has found, a panel for each part."""
    for title, values in _panels(found):
        # `Text` and not a string: what looks like markup in a document stays as it is.
        lines = "\n".join(f"{name}: {value}" for name, value in values.items())
        console.print(Panel(Text(lines), title=Text(title), title_align="left"))


def trace(project: Project, merged_id: str) -> dict[str, Any] | None:
    """Source row, segments with prompts and calls, and measures; None where there is no such merged document."""
    lake = project.lake
    merged = _first(lake, MERGED_DOCUMENTS.name, {"merged_id": merged_id})
    if merged is None:
        return None
    where = {"document_id": merged["document_id"], "curator_file": merged["curator_file"]}
    source = _first(lake, CURATED_DOCUMENTS.name, where) or {}
    segments = merged.pop("segments") or []
    made = _first(lake, rephrased(merged["strategy"]).name, where) or {}
    made_by = {name: made[name] for name in ("model", "strategy_fingerprint", "prompt_tokens", "completion_tokens")
               if name in made}  # fmt: skip
    return {
        "document": {**merged, **made_by},
        "source": {**source, "path": project.curator.location(merged["curator_file"])},
        "segments": [_segment(project, merged, source, segment) for segment in segments],
        "measures": {
            name: value
            for table in (PERPLEXITY.name, JUDGE_SCORES.name, TEXT_QUALITY.name)
            for name, value in _measures(lake, table, merged_id).items()
        },
        "near_duplicate_of": _measures(lake, NEAR_DUPLICATES.name, merged_id) or None,
    }


def trace_source(project: Project, document_id: str) -> dict[str, Any] | None:
    """What became of one source document: its training documents and its drops, strategy by strategy; None where no
    table knows it."""
    lake = project.lake
    where = {"document_id": document_id}
    sources = _all(lake, CURATED_DOCUMENTS.name, where)
    merged = _all(lake, MERGED_DOCUMENTS.name, where, ["merged_id", "strategy", "curator_file", "token_count"])
    drops = _all(lake, DROPS.name, where, ["strategy", "stage", "reason", "detail", "curator_file", "row_number"])
    if not (sources or merged or drops):
        return None
    return {
        "sources": [{**row, "path": project.curator.location(row["curator_file"])} for row in sources],
        "training_documents": sorted(merged, key=lambda row: (row["strategy"] != "original", row["strategy"])),
        "drops": sorted(drops, key=lambda row: (row["strategy"] or "", row["stage"], row["curator_file"])),
    }


def _panels(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    if "document" in found:
        names = ("document", "source", "measures", "near_duplicate_of")
        parts = [(name, _without_text(found[name])) for name in names if found[name]]
        return [*parts, *((f"segment {segment['segment_index']}", segment) for segment in found["segments"])]
    sources = [("source", _without_text(row)) for row in found["sources"]]
    made = [(f"{row['strategy']}: a training document", row) for row in found["training_documents"]]
    drops = [(f"{row['strategy'] or 'before any strategy'}: dropped", row) for row in found["drops"]]
    return [*sources, *made, *drops]


def _without_text(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "text"}


def _segment(project: Project, merged: dict[str, Any], source: dict[str, Any], span: dict[str, Any]) -> dict[str, Any]:
    strategy = next((strategy for strategy in project.strategies if strategy.name == merged["strategy"]), None)
    source_text = str(source.get("text", ""))[span["source_start"] : span["source_end"]]
    # The table of a strategy stays when its file is gone; its prompt does not.
    messages = () if strategy is None else strategy.messages(source.get("title") or "", source_text)
    call = _first(project.lake, "ledger.completions", {"request_key": span["request_key"]}) or {}
    return {
        **span,
        "source_text": source_text,
        "prompt": [{"role": message.role, "content": message.content} for message in messages],
        "call": {name: str(value) if name == "created_at" else value for name, value in call.items()},
        "text": merged["text"][span["text_start"] : span["text_end"]],
    }


def _measures(lake: Lake, table: str, merged_id: str) -> dict[str, Any]:
    row = _first(lake, table, {"merged_id": merged_id}) or {}
    shared = ("merged_id", "document_id", "curator_file", "strategy")
    return {name: value for name, value in row.items() if name not in shared}


def _first(lake: Lake, table: str, where: dict[str, str]) -> dict[str, Any] | None:
    return next(iter(_all(lake, table, where)), None)


def _all(lake: Lake, table: str, where: dict[str, str], columns: list[str] | None = None) -> list[dict[str, Any]]:
    if not lake.has_table(table):
        return []
    return lake.read(table, columns=columns, where=where).to_pylist()
