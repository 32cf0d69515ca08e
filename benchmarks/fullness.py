"""How full the pipe is over chunk and partition borders: a backfill of many small files, as one run.

Mean requests in flight ÷ the limit, from the first request to the last answer, as the model server counts them. The
first wave fills and the last one drains whatever the client does: a bare client is measured on the same requests, and
what it lacks to 1 is not the asset's.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path

import click
import dagster as dg
from workbench.bare_client import bare_client
from workbench.project import Bench, Figure, model_server, report, stats, write_corpus

from synth_assets.assets.rephrased import candidates, in_buying_order, request_planner
from synth_assets.core.request_planning import planned_requests

LATENCY_SECONDS, SIGMA = 2.0, 0.35
DOCUMENT_CHARS = 2048
LEAST_SHARE = 0.95


def fullness(
    address: str, in_flight: int, file_count: int, documents_per_file: int, names: list[str]
) -> tuple[float, float, int]:
    """Mean requests in flight ÷ the limit of one run over all files and of the bare client, and how many requests."""
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral(tempdir=folder) as instance:
        bench = Bench(Path(folder, "home"), Path(folder, "corpus"), address, instance, in_flight)
        write_corpus(bench.corpus, file_count, documents_per_file, DOCUMENT_CHARS)
        _, project = bench.run(["seed.curated_documents"])
        files = [f"part-{place:05}.jsonl" for place in range(file_count)]
        strategies = [strategy for strategy in project.strategies if not names or strategy.name in names]
        requests = [
            planned.request
            for strategy in in_buying_order(strategies)
            for planner in [request_planner(strategy, project.rephraser, project.ledger, project.roots)]
            for name in files
            for planned in planned_requests(candidates(project.lake, name), planner)
        ]
        chosen = [strategy.name for strategy in strategies]
        run, _ = bench.prepared([f"rephrased.{name}" for name in chosen], chosen)
        stats(address)
        run()
        ours = stats(address)
        if ours["requests"] != len(requests):
            raise SystemExit(f"the run sent {ours['requests']} requests, the bare client {len(requests)}")
        asyncio.run(bare_client(address, requests, in_flight))
        return ours["mean_in_flight"] / in_flight, stats(address)["mean_in_flight"] / in_flight, len(requests)


@click.command()
@click.option("--files", "file_count", default=50)
@click.option("--documents", "documents_per_file", default=40, help="Documents in each file.")
@click.option("--in-flight", default=64)
@click.option("--strategies", default="distill", help="Names, with commas between them; empty: all.")
@click.option("--turns", default=3)
def main(file_count: int, documents_per_file: int, in_flight: int, strategies: str, turns: int) -> None:
    """Measure a run over many small files, and the bare client on the same requests."""
    names = [name for name in strategies.split(",") if name]
    with model_server(LATENCY_SECONDS, SIGMA) as address:
        found = [fullness(address, in_flight, file_count, documents_per_file, names) for _ in range(turns)]
    ours, bare = (statistics.median(values) for values in list(zip(*found, strict=True))[:2])
    request_count = found[0][2]
    report(
        [
            Figure(
                f"pipe fullness over {file_count} files of {documents_per_file} documents, {request_count} requests, "
                f"{in_flight} in flight, 1 to 4 s (log-normal)",
                f"{ours:.3f} of the limit in flight on average",
                "1",
                ours,
                f"at least {LEAST_SHARE}",
                ours >= LEAST_SHARE,
                f"{turns} turns; a bare client on the same requests: {bare:.3f}, so the first and the last wave cost "
                f"{1 - bare:.3f} and everything else {bare - ours:.3f}",
            )
        ]
    )


if __name__ == "__main__":
    main()
