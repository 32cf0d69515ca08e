"""`synth query`: read-only SQL over the lake, as a table or as JSON."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from synth_assets.cli import emit
from synth_assets.commands.opening import open_project

MAX_ROWS = 200
"""Rows shown on a terminal; `--json` prints all."""


def query_command(sql: str, as_json: bool) -> None:
    """Run one reading statement and print its rows."""
    rows = open_project().project.lake.query_read_only(sql)
    if as_json:
        emit(rows.to_pylist())
        return
    table = Table(*rows.column_names)
    for row in rows.slice(0, MAX_ROWS).to_pylist():
        table.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    Console().print(table)
    if rows.num_rows > MAX_ROWS:
        Console(stderr=True).print(f"{rows.num_rows - MAX_ROWS} more rows; --json prints all.")
