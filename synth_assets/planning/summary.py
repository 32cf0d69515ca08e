"""Counts over the tables that commands and reports show: documents, drops, what is left."""

from __future__ import annotations

from collections.abc import Sequence

from resources.lake import Lake
from synth_assets.core.tables import DROPS, MERGED_DOCUMENTS


def document_count(lake: Lake) -> int:
    """Training documents in the merged set."""
    if not lake.has_table(MERGED_DOCUMENTS.name):
        return 0
    return lake.query(f"SELECT count(*) AS n FROM {MERGED_DOCUMENTS.name}")["n"][0].as_py()  # noqa: S608


def merged_count(lake: Lake, files: Sequence[str]) -> int:
    """Training documents of some files."""
    sql = f"SELECT count(*) AS n FROM {MERGED_DOCUMENTS.name} WHERE curator_file IN (SELECT unnest(?))"  # noqa: S608
    return lake.query(sql, [list(files)])["n"][0].as_py()


def drops_by_reason(lake: Lake) -> dict[str, int]:
    """Number of drops by reason."""
    if not lake.has_table(DROPS.name):
        return {}
    found = lake.query(f"SELECT reason, count(*) AS n FROM {DROPS.name} GROUP BY 1 ORDER BY 1")  # noqa: S608
    return dict(zip(found["reason"].to_pylist(), found["n"].to_pylist(), strict=True))
