"""The long export: originals and every strategy, as a mix or everything once, with a data card and a manifest.

In: putting the parts of an export together, shards. Out: which rows (`selection`, `long_rows`), their order
(`shuffling`), card and manifest, the swap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.errors import SynthError
from resources.lake import Lake
from synth_assets.core.mixture import MixOptions
from synth_assets.core.strategy import Strategy
from synth_assets.core.tables import MERGED_DOCUMENTS
from synth_assets.exporting.card import render_card
from synth_assets.exporting.lake_view import LakeView
from synth_assets.exporting.long_rows import LONG_SCHEMA, ORDERED_SCHEMA, long_rows
from synth_assets.exporting.manifest import manifest_text
from synth_assets.exporting.selection import Selection, select
from synth_assets.exporting.shuffling import shuffled
from synth_assets.exporting.swapping import CARD_NAME, MANIFEST_NAME, staged_export
from synth_assets.exporting.table_files import ExportedFile, RowFile

LONG_NAME = "wiki_synthetic_documents"


@dataclass(frozen=True)
class ExportOptions:
    """What a user asks of a long export."""

    file_format: str = "parquet"
    mix: MixOptions = field(default_factory=MixOptions)
    seed: int | None = None
    """Of the shuffle and of what a cut takes; None is 0, and no shuffle where no mix is asked for."""
    shards: int | None = None
    keeps_near_duplicates: bool = False

    @property
    def is_shuffled(self) -> bool:
        """True where rows are shuffled; else they stand as in the lake."""
        return not self.mix.is_everything or self.seed is not None or self.shards is not None

    def as_dict(self) -> dict[str, Any]:
        """For the card and the manifest."""
        return {
            "format": self.file_format,
            "real_share": self.mix.real_share,
            "weights": None if self.mix.weights is None else dict(sorted(self.mix.weights.items())),
            "token_budget": self.mix.token_budget,
            "max_repeats": self.mix.max_repeats,
            "is_shuffled": self.is_shuffled,
            "seed": (self.seed or 0) if self.is_shuffled else None,
            "shards": self.shards or 1,
            "keeps_near_duplicates": self.keeps_near_duplicates,
        }


@dataclass(frozen=True)
class LongExport:
    """What was written."""

    files: tuple[ExportedFile, ...]
    selection: Selection
    card: Path
    manifest: Path


def export_long(lake: Lake, directory: Path, options: ExportOptions, strategies: Sequence[Strategy] = ()) -> LongExport:
    """Write the export to `directory`, streaming: whole or not at all.

    Raises SynthError when there is nothing to write or the directory is not an export's (`swapping`), and SettingError
    for a mix that cannot be understood. A part that is too small for its share is written as far as it goes; the
    selection, the card and the manifest name the shortfall.
    """
    if not lake.has_table(MERGED_DOCUMENTS.name):
        raise SynthError(f"There is no {MERGED_DOCUMENTS.name} yet.", "Run `synth run` first.")
    names = [strategy.name for strategy in strategies]
    view = LakeView(lake)
    selection = select(view, options.mix, options.seed or 0, options.keeps_near_duplicates)
    with staged_export(directory) as folder:
        rows = long_rows(view, selection, names)
        if options.is_shuffled:
            rows = shuffled(rows, ORDERED_SCHEMA, folder / "unsorted", selection.chars)
        written = _write(rows, folder, options, selection.rows)
        data_files = [str(file["path"]) for file in written]
        card = render_card(view, selection, strategies, data_files, options.as_dict())
        (folder / CARD_NAME).write_text(card, encoding="utf-8")
        manifest = manifest_text(folder, written, selection, view.snapshot_id, options.as_dict())
        (folder / MANIFEST_NAME).write_text(manifest, encoding="utf-8")
    files = tuple(
        ExportedFile(directory / file["path"], file["rows"], (directory / file["path"]).stat().st_size)
        for file in written
    )
    return LongExport(files, selection, directory / CARD_NAME, directory / MANIFEST_NAME)


def _write(
    rows: Iterator[pa.RecordBatch], folder: Path, options: ExportOptions, row_count: int
) -> list[dict[str, Any]]:
    """Shards of equal numbers of rows, but for one, named as the hub names them; at least one file."""
    count = max(1, min(options.shards or 1, row_count))
    ends = [(place + 1) * row_count // count for place in range(count)]
    shards = groupby(_in_shards(rows, ends), key=itemgetter(0))
    written: list[dict[str, Any]] = []
    for place in range(count):
        stem = LONG_NAME if count == 1 else f"{LONG_NAME}-{place:05d}-of-{count:05d}"
        path = folder / f"{stem}.{options.file_format}"
        tokens = 0
        with RowFile(path, LONG_SCHEMA) as file:
            for _, piece in next(shards, (place, ()))[1]:
                file.write(piece.select(LONG_SCHEMA.names))
                tokens += sum(count or 0 for count in piece.column("token_count").to_pylist())
        written.append({"path": path.name, "rows": file.rows, "tokens": tokens})
    return written


def _in_shards(rows: Iterator[pa.RecordBatch], ends: Sequence[int]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches cut at the ends of shards, each with its shard's place."""
    place = done = 0
    for batch in rows:
        while batch.num_rows:
            while done >= ends[place]:
                place += 1
            piece = batch.slice(0, ends[place] - done)
            yield place, piece
            done += piece.num_rows
            batch = batch.slice(piece.num_rows)
