"""What a rerun costs: with nothing stale against reading the input once, and with 1% of the documents changed.

Over the seed, one strategy and the merged set; every answer is put into the ledger beforehand, so no model time is in
any figure. The changed documents are once all in 1% of the files, and once the same number in every file.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import click
import dagster as dg
from workbench.ledgers import buy_for_nothing
from workbench.project import Bench, Figure, model_server, report, write_corpus

from resources.inference import ServedModel
from synth_assets.assets.rephrased import request_planner
from synth_assets.core.documents import CuratorDocument, read_curator_file
from synth_assets.core.request_planning import SeedDocument, planned_requests

STRATEGY = "distill"
ASSETS = ("seed.curated_documents", f"rephrased.{STRATEGY}", "merged.documents")
FILE_COUNT = 100
SHARE_CHANGED = 0.01


def documents(corpus: Path) -> Iterator[SeedDocument]:
    """Every document of the corpus; none of this one is a duplicate or no candidate."""
    for path in sorted(corpus.iterdir()):
        for item in read_curator_file(path, path.name):
            if isinstance(item, CuratorDocument):
                yield SeedDocument(item.document_id, path.name, item.title, item.text, item.row_number)


def fill_ledger(bench: Bench, chars: int) -> None:
    """An answer of so many characters for every document as it is now; those that have one get no second."""
    project = bench.project()
    project.rephraser.remember()
    strategy = next(strategy for strategy in project.strategies if strategy.name == STRATEGY)
    planner = request_planner(strategy, project.rephraser, project.ledger, project.roots)
    requests = list(planned_requests(documents(bench.corpus), planner))
    known = project.ledger.known_keys([planned.request.request_key for planned in requests])
    missing = [planned for planned in requests if planned.request.request_key not in known]
    buy_for_nothing(project.ledger, missing, planner.model or ServedModel("bench-model"), chars)


def change(corpus: Path, places: Collection[int], documents_per_file: int, mark: str) -> None:
    """Give a new word to the documents at these places of the whole corpus."""
    for file_number, path in enumerate(sorted(corpus.iterdir())):
        first = file_number * documents_per_file
        own = [place - first for place in places if first <= place < first + documents_per_file]
        if own:
            lines = path.read_text().splitlines(keepends=True)
            for line in own:
                lines[line] = lines[line].replace("Record ", f"{mark} record ", 1)
            path.write_text("".join(lines))


def rerun_seconds(bench: Bench) -> tuple[float, int]:
    """Seconds of one run, and how many partitions it has made."""
    started = time.perf_counter()
    summary, project = bench.run(ASSETS, [STRATEGY])
    seconds = time.perf_counter() - started
    if sent := project.purchases.total().requests_sent:
        raise SystemExit(f"{sent} requests were sent that the ledger should have answered")
    # Merging waits where documents are dropped: less work than it says.
    if summary.blocked:
        raise SystemExit(f"{len(summary.blocked)} partitions were not made: {summary.blocked[0]}")
    return seconds, len(summary.materialized)


def measure(bench: Bench, document_count: int, chars: int, turns: int) -> Sequence[Figure]:
    """The three figures."""
    per_file = document_count // FILE_COUNT
    fill_ledger(bench, chars)
    rerun_seconds(bench)
    nothing_stale = min(rerun_seconds(bench)[0] for _ in range(turns))
    reading = min(_reading_seconds(bench.corpus) for _ in range(turns))
    figures = [
        Figure(
            f"rerun with nothing stale, {document_count:,} documents",
            f"{nothing_stale:.2f} s",
            f"{reading:.2f} s (reading the input once)",
            nothing_stale / reading,
            "at most 3",
            nothing_stale <= 3 * reading,
            f"{FILE_COUNT} files; best of {turns}; imports left out",
        )
    ]
    changed = max(int(document_count * SHARE_CHANGED), 1)
    everywhere = range(0, document_count, document_count // changed)
    for where, places in (("in 1% of the files", range(changed)), ("spread over all files", everywhere)):
        change(bench.corpus, places, per_file, f"Changed {where}")
        fill_ledger(bench, chars)
        seconds, made = rerun_seconds(bench)
        figures.append(
            Figure(
                f"rerun with {changed:,} of {document_count:,} documents changed, {where}",
                f"{seconds:.2f} s",
                f"{nothing_stale:.2f} s (nothing stale)",
                seconds / nothing_stale,
                "at most 2" if where.startswith("in") else "stated",
                seconds <= 2 * nothing_stale if where.startswith("in") else None,
                f"{made} partitions of {FILE_COUNT * len(ASSETS)} made; answers were in the ledger",
            )
        )
    return figures


def _reading_seconds(corpus: Path) -> float:
    started = time.perf_counter()
    for _ in documents(corpus):
        pass
    return time.perf_counter() - started


@click.command()
@click.option("--documents", "document_count", default=100_000)
@click.option("--chars", default=600, help="Characters of a document.")
@click.option("--turns", default=3)
def main(document_count: int, chars: int, turns: int) -> None:
    """Measure in a temporary folder."""
    with (
        tempfile.TemporaryDirectory() as folder,
        dg.DagsterInstance.ephemeral(tempdir=folder) as instance,
        model_server(0.0) as address,
    ):
        bench = Bench(Path(folder, "home"), Path(folder, "corpus"), address, instance)
        write_corpus(bench.corpus, FILE_COUNT, document_count // FILE_COUNT, chars)
        report(measure(bench, document_count, chars, turns))


if __name__ == "__main__":
    main()
