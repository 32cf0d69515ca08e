"""Articles to plant faults in, from Curator's JSONL.

In: titles and texts. Out: which passages are taken (`synth_assets.core.planted_cases`).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path


def articles(folder: Path) -> Iterator[tuple[str, str]]:
    """Title and text of each article in the folder's `*.jsonl` and `*.jsonl.gz`, files in the order of their names."""
    for path in sorted(folder.glob("*.jsonl*")):
        read = gzip.open if path.suffix == ".gz" else open
        with read(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield row["title"], row["text"]
