"""The wide form as one file: a row for each seed document, a column for each strategy.

In: `merged.multistrategy`. Out: the long form, mixes, cards (`long_form`).
"""

from __future__ import annotations

import os
from pathlib import Path

from resources.errors import SynthError
from resources.lake import Lake
from synth_assets.exporting.table_files import ExportedFile, RowFile

WIDE_TABLE = "merged.multistrategy"
WIDE_NAME = "wiki_synthetic_multistrategy"


def export_wide(lake: Lake, directory: Path, file_format: str) -> ExportedFile:
    """Write the file, streaming; a reader sees the old one or the new one. SynthError when there is nothing."""
    if not lake.has_table(WIDE_TABLE):
        raise SynthError(f"There is no {WIDE_TABLE} yet.", "Run `synth run` first.")
    directory.mkdir(parents=True, exist_ok=True)
    reader = lake.scan(WIDE_TABLE)
    target = directory / f"{WIDE_NAME}.{file_format}"
    temporary = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        with RowFile(temporary, reader.schema) as file:
            for batch in reader:
                file.write(batch)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return ExportedFile(target, file.rows, target.stat().st_size)
