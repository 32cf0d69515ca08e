"""Whether the tables are whole: each partition is exactly one version of its file, in every table.

In: the check, by a reader that opens the lake anew. Out: what is made of what it finds.
"""

from __future__ import annotations

import fcntl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from killing.corpus import ChangingCorpus
from resources.lake import Lake
from synth_assets.strategies import discover

STRATEGIES = [strategy.name for strategy in discover()]


def wrong_partitions(home: Path, corpus: ChangingCorpus, is_final: bool = False) -> list[str]:
    """What is wrong, in words; `is_final`: every partition has to be there, and to be its file's last version."""
    if is_locked(home / "lake" / "catalog.sqlite.lock"):
        return ["a killed writer has left the catalogue's lock behind"]
    lake = Lake(f"sqlite:{home}/lake/catalog.sqlite", f"{home}/lake/data")
    try:
        return list(_wrong(lake, corpus, is_final))
    finally:
        lake.close()


def answers_kept(home: Path) -> int:
    """Rows of the ledger."""
    lake = Lake(f"sqlite:{home}/lake/catalog.sqlite", f"{home}/lake/data")
    try:
        return lake.query("SELECT count(*) AS n FROM ledger.completions")["n"][0].as_py()
    finally:
        lake.close()


def is_locked(file: Path) -> bool:
    """Whether somebody holds the lock."""
    if not file.exists():
        return False
    with file.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _wrong(lake: Lake, corpus: ChangingCorpus, is_final: bool) -> Iterator[str]:
    for what, documents in _document_lists(lake):
        for name, versions in corpus.versions.items():
            found = documents.get(name, [])
            if not found and not is_final:
                continue
            doubled = [key for key, count in Counter(found).items() if count > 1]
            if doubled:
                yield f"{what}, {name}: {len(doubled)} documents are doubled"
            elif frozenset(found) not in (versions[-1:] if is_final else versions):
                yield f"{what}, {name}: {len(found)} documents are no version of the file"
    if lake.has_table("merged.documents"):
        sql = "SELECT count(*) - count(DISTINCT merged_id) AS n FROM {}"
        for table in ("merged.documents", "metrics.perplexity", "metrics.judge_scores"):
            if lake.has_table(table) and lake.query(sql.format(table))["n"][0].as_py():
                yield f"{table}: a row is doubled"


def _document_lists(lake: Lake) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """For each table, the document identities by file, read by one statement: one snapshot."""
    if lake.has_table("seed.curated_documents"):
        yield "seed.curated_documents", _by_file(lake, "SELECT curator_file, document_id FROM seed.curated_documents")
    for strategy in STRATEGIES:
        if lake.has_table(f"rephrased.{strategy}"):
            drops = f"SELECT curator_file, document_id FROM ledger.drops WHERE strategy = '{strategy}'"
            rows = f"SELECT curator_file, document_id FROM rephrased.{strategy}"
            yield f"rephrased.{strategy} and its drops", _by_file(lake, f"{rows} UNION ALL {drops}")
    for table in ("merged.documents", "metrics.perplexity"):
        if lake.has_table(table):
            originals = f"SELECT curator_file, document_id FROM {table} WHERE strategy = 'original'"
            yield f"{table}, originals", _by_file(lake, originals)


def _by_file(lake: Lake, sql: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in lake.query(sql).to_pylist():
        found.setdefault(row["curator_file"], []).append(row["document_id"])
    return found
