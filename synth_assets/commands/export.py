"""`synth export`: the training data as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from synth_assets.cli import emit
from synth_assets.commands.opening import open_project
from synth_assets.exporting.long_form import ExportOptions, LongExport, export_long
from synth_assets.exporting.manifest import part_summary
from synth_assets.exporting.wide_form import export_wide
from synth_assets.project import Project


def export_command(directory: str, options: ExportOptions, is_wide: bool, as_json: bool) -> None:
    """Write the files and say which; what falls short of the mix that was asked for goes to standard error."""
    project = open_project().project
    if is_wide:
        written = export_wide(project.lake, Path(directory), options.file_format)
        if as_json:
            emit({"files": [str(written.path)], "rows": written.rows, "bytes": written.bytes})
        else:
            click.echo(f"{written.path}: {written.rows} rows, {written.bytes / 1e6:.1f} MB")
        return
    _export_long(project, Path(directory), options, as_json)


def _export_long(project: Project, directory: Path, options: ExportOptions, as_json: bool) -> None:
    done = export_long(project.lake, directory, options, project.strategies)
    for part, tokens in done.selection.shortfalls.items():
        click.echo(f"Warning: {part} is {tokens:,} tokens short of what was asked of it.", err=True)
    if as_json:
        emit(_summary(done))
        return
    for file in done.files:
        click.echo(f"{file.path}: {file.rows} rows, {file.bytes / 1e6:.1f} MB")
    for part in done.selection.parts:
        click.echo(f"  {part.plan.part}: {part.documents} documents, {part.rows} rows, {part.tokens:,} tokens")
    if done.selection.near_duplicates_left_out:
        click.echo(f"  near-duplicates left out: {done.selection.near_duplicates_left_out}")
    click.echo(f"{done.card}: the data card; {done.manifest}: checksums")


def _summary(done: LongExport) -> dict[str, Any]:
    return {
        "files": [str(file.path) for file in done.files],
        "rows": done.selection.rows,
        "bytes": sum(file.bytes for file in done.files),
        "tokens": sum(part.tokens for part in done.selection.parts),
        "parts": [part_summary(part) for part in done.selection.parts],
        "near_duplicates_left_out": done.selection.near_duplicates_left_out,
        "shortfalls": done.selection.shortfalls,
        "manifest": str(done.manifest),
        "card": str(done.card),
    }
