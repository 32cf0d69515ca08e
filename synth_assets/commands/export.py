"""`synth export`: the training data as files."""

from __future__ import annotations

from pathlib import Path

import click

from synth_assets.cli import emit
from synth_assets.commands.opening import open_project
from synth_assets.exporting import export_table


def export_command(directory: str, file_format: str, is_wide: bool, as_json: bool) -> None:
    """Write one file and say which."""
    lake = open_project().project.lake
    written = export_table(lake, Path(directory), file_format, is_wide)
    if as_json:
        emit({"files": [str(written.path)], "rows": written.rows, "bytes": written.bytes})
    else:
        click.echo(f"{written.path}: {written.rows} rows, {written.bytes / 1e6:.1f} MB")
