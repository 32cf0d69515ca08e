"""`manifest.json`: every file of an export with its checksum, and what it was made from.

In: its content. Out: when it takes its place (`swapping`). It holds no time of day, so that the same lake and options
give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from synth_assets.exporting.selection import PartRows, Selection
from synth_assets.exporting.swapping import CARD_NAME, MADE_BY
from synth_assets.exporting.table_files import file_sha256


def manifest_text(
    folder: Path,
    data_files: Sequence[Mapping[str, Any]],
    selection: Selection,
    snapshot_id: int | None,
    options: Mapping[str, Any],
) -> str:
    """The manifest of the files in `folder`; `data_files` have `path`, `rows` and `tokens`."""
    files = [*data_files, {"path": CARD_NAME}]
    content = {
        "made_by": MADE_BY,
        "version": version("synth-assets"),
        "lake_snapshot": snapshot_id,
        "options": dict(options),
        "rows": selection.rows,
        "tokens": sum(part.tokens for part in selection.parts),
        "parts": [part_summary(part) for part in selection.parts],
        "shortfalls": selection.shortfalls,
        "near_duplicates_left_out": selection.near_duplicates_left_out,
        "files": [
            {**file, "bytes": (folder / file["path"]).stat().st_size, "sha256": file_sha256(folder / file["path"])}
            for file in files
        ],
    }
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def part_summary(part: PartRows) -> dict[str, Any]:
    """One part of an export in words and figures."""
    return {
        "part": part.plan.part,
        "documents_available": part.plan.available.documents,
        "tokens_available": part.plan.available.tokens,
        "share": part.plan.share,
        "target_tokens": part.plan.target_tokens,
        "documents": part.documents,
        "rows": part.rows,
        "tokens": part.tokens,
        "most_repeats": part.most_repeats,
        "shortfall_tokens": part.plan.shortfall_tokens,
    }
