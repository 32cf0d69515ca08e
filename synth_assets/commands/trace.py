"""`synth trace`: from one merged document back to its source, segments, prompts, calls and measures."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from resources.errors import SynthError
from resources.lake import Lake
from synth_assets.cli import emit
from synth_assets.commands.opening import open_project
from synth_assets.core.tables import CURATED_DOCUMENTS, JUDGE_SCORES, MERGED_DOCUMENTS, PERPLEXITY
from synth_assets.project import Project


def trace_command(merged_id: str, as_json: bool) -> None:
    """Print everything behind one merged document."""
    found = trace(open_project().project, merged_id)
    if as_json:
        emit(found)
        return
    console = Console()
    for part in ("document", "source", "measures"):
        lines = "\n".join(f"{name}: {value}" for name, value in found[part].items() if name != "text")
        console.print(Panel(Text(lines), title=part, title_align="left"))
    for segment in found["segments"]:
        lines = "\n".join(f"{name}: {value}" for name, value in segment.items())
        console.print(Panel(Text(lines), title=f"segment {segment['segment_index']}", title_align="left"))


def trace(project: Project, merged_id: str) -> dict[str, Any]:
    """Source row, segments with prompts and calls, and measures; raises SynthError where there is no such document."""
    merged = _first(project.lake, MERGED_DOCUMENTS.name, {"merged_id": merged_id})
    if merged is None:
        raise SynthError(
            f"There is no merged document {merged_id!r}.",
            'IDs are in merged.documents: synth query "SELECT merged_id, strategy, title FROM merged.documents".',
        )
    where = {"document_id": merged["document_id"], "curator_file": merged["curator_file"]}
    source = _first(project.lake, CURATED_DOCUMENTS.name, where) or {}
    segments = merged.pop("segments") or []
    return {
        "document": merged,
        "source": {**source, "path": project.curator.location(merged["curator_file"])},
        "segments": [_segment(project, merged, source, segment) for segment in segments],
        "measures": {
            **_measures(project.lake, PERPLEXITY.name, merged_id),
            **_measures(project.lake, JUDGE_SCORES.name, merged_id),
        },
    }


def _segment(project: Project, merged: dict[str, Any], source: dict[str, Any], span: dict[str, Any]) -> dict[str, Any]:
    strategy = next(strategy for strategy in project.strategies if strategy.name == merged["strategy"])
    source_text = str(source.get("text", ""))[span["source_start"] : span["source_end"]]
    messages = strategy.messages(source.get("title") or "", source_text)
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
    if not lake.has_table(table):
        return None
    return next(iter(lake.read(table, where=where).to_pylist()), None)
