"""A corpus whose files change over and over, and which remembers every version that a file has had.

In: writing the files, and which document identities belong to which version. Out: what is made of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from synth_assets.core.curator_row import document_id

WORDS_PER_SENTENCE = 22


class ChangingCorpus:
    """Curator files `0.jsonl`, `1.jsonl`, …; `versions` holds the document identities of each version by file."""

    def __init__(self, folder: Path, file_count: int, documents_per_file: int) -> None:
        self.folder = folder
        self.names = [f"{number}.jsonl" for number in range(file_count)]
        self.documents_per_file = documents_per_file
        self.versions: dict[str, list[frozenset[str]]] = {name: [] for name in self.names}
        self._written = 0
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.names:
            self.replace(name)

    def replace(self, name: str) -> None:
        """Give a file a new version: documents that no file had before."""
        documents = [self._document() for _ in range(self.documents_per_file)]
        # Renamed into place, so that a run under way never reads half of it.
        temporary = self.folder / f".{name}"
        temporary.write_text("".join(json.dumps(document) + "\n" for document in documents))
        self.versions[name].append(frozenset(document_id(row["title"], row["text"]) for row in documents))
        temporary.replace(self.folder / name)

    def _document(self) -> dict[str, Any]:
        self._written += 1
        number = self._written
        sentences = [
            f"Station {number} recorded {number * 37 + index} measurements in the year {1900 + index}, and its keepers "
            "wrote them down in a ledger that still exists."
            for index in range(6)
        ]
        text = " ".join(sentences[:3]) + "\n\n" + " ".join(sentences[3:])
        return {"title": f"Weather station {number}", "text": text, "id": str(number), "language": "en",
                "url": f"https://example.org/{number}", "categories": ["Weather"]}  # fmt: skip
