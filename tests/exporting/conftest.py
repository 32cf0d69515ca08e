"""A lake with originals, two strategies and everything an export reads, without any run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from resources.lake import Lake
from resources.lake_write import Replacement
from resources.ledger import COMPLETIONS, COMPLETIONS_SCHEMA
from synth_assets.core.quality_tables import NEAR_DUPLICATES
from synth_assets.core.tables import CURATED_DOCUMENTS, DROPS, MERGED_DOCUMENTS, REPHRASED_SCHEMA, TableSpec

STRATEGIES = ("distill", "wiki_rephrase")


def table(spec: TableSpec, rows: Sequence[dict[str, Any]]) -> Replacement:
    return Replacement(spec.name, pa.Table.from_pylist(list(rows), schema=spec.schema), {})


class Stock:
    """Fills a lake: `count` documents in two files, each as an original and in two strategies."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def fill(self, count: int, is_reversed: bool = False) -> None:
        numbers = list(range(count))[:: -1 if is_reversed else 1]
        merged, seed, made, answers = [], [], {name: [] for name in STRATEGIES}, []
        for number in numbers:
            document_id = self.identity("document", number)
            where = {"document_id": document_id, "curator_file": f"{'ab'[number % 2]}.jsonl"}
            seed.append(
                {**where, "row_number": number, "title": f"Title {number}", "text": f"Größe {number}: 東京",
                 "url": f"https://example.org/{number}", "language": "en", "license": "CC BY-SA 4.0",
                 "attribution": f"Author {number % 3}", "is_duplicate": False, "is_candidate": True}
            )  # fmt: skip
            for strategy in ("original", *STRATEGIES):
                key = self.identity("request", strategy, number)
                merged.append(
                    {**where, "merged_id": self.identity(strategy, number), "strategy": strategy,
                     "title": f"Title {number}", "text": f"{strategy}: Größe {number},\n\"東京\"",
                     "token_count": 10 + number % 7, "char_count": 20,
                     "segments": [] if strategy == "original" else [{"segment_index": 0, "request_key": key}]}
                )  # fmt: skip
                if strategy != "original":
                    made[strategy].append({**where, "text": "", "model": "tiny-model"})
                    answers.append({"request_key": key, "strategy": strategy, "model": "tiny-model",
                                    "model_revision": "rev-1", "completion": "", "finish_reason": "stop"})  # fmt: skip
        self.lake.replace(
            [
                table(CURATED_DOCUMENTS, seed),
                table(MERGED_DOCUMENTS, merged),
                *(Replacement(f"rephrased.{name}", pa.Table.from_pylist(rows, schema=REPHRASED_SCHEMA), {})
                  for name, rows in made.items()),
                Replacement(COMPLETIONS, pa.Table.from_pylist(answers, schema=COMPLETIONS_SCHEMA), {}),
            ]
        )  # fmt: skip

    def mark_near_duplicates(self, strategy: str, numbers: Sequence[int]) -> None:
        rows = [
            {"merged_id": self.identity(strategy, number), "document_id": self.identity("document", number),
             "curator_file": f"{'ab'[number % 2]}.jsonl", "strategy": strategy, "similarity": 0.9}
            for number in numbers
        ]  # fmt: skip
        self.lake.replace([table(NEAR_DUPLICATES, rows)])

    def drop(self, **columns: Any) -> None:
        self.lake.replace([table(DROPS, [columns])])

    @staticmethod
    def identity(*parts: object) -> str:
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(f"sqlite:{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data")


@pytest.fixture
def stock(lake: Lake) -> Stock:
    return Stock(lake)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    """60 documents, for tests that only read."""
    home = tmp_path_factory.mktemp("filled")
    stock = Stock(Lake(f"sqlite:{home}/catalog.sqlite", f"{home}/data"))
    stock.fill(60)
    return stock


@pytest.fixture
def make_stock(tmp_path: Path) -> Callable[[str], Stock]:
    """A stock in a lake of its own."""
    return lambda name: Stock(Lake(f"sqlite:{tmp_path}/{name}/catalog.sqlite", f"{tmp_path}/{name}/data"))
