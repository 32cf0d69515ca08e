"""Rephrasing through the whole asset against a bare client that sends the same requests and keeps nothing.

The asset's time is that of a whole stale-only run over one strategy: planning, segmentation, keys, ledger look-ups,
generation, commits, post-processing and the table. The bare client is AsyncOpenAI over aiohttp, the fastest one (of
the clients compared in `peers.py`). Both send to the same server; they take turns, and the middle of the ratios counts.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import click
import dagster as dg
from workbench.bare_client import bare_client
from workbench.project import Bench, Figure, model_server, report, stats, write_corpus

from synth_assets.assets.rephrased import candidates, request_planner
from synth_assets.core.request_planning import planned_requests

STRATEGY = "distill"
DOCUMENT_CHARS = 2048
FILES = 4
SETTINGS = {
    # name: latency in seconds, sigma of its logarithm, requests in flight, waves, share that is to be reached
    "1 to 4 s (log-normal), 64 in flight": (2.0, 0.35, 64, 10, 0.97),
    "1 to 4 s (log-normal), 256 in flight": (2.0, 0.35, 256, 10, 0.97),
    "fixed 50 ms, 64 in flight": (0.05, 0.0, 64, 60, 0.9),
}


def compare(address: str, in_flight: int, documents: int) -> tuple[float, float, float]:
    """Seconds of the asset and of the bare client for the same requests, and the asset's mean requests in flight."""
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral(tempdir=folder) as instance:
        bench = Bench(Path(folder, "home"), Path(folder, "corpus"), address, instance, in_flight)
        write_corpus(bench.corpus, FILES, documents // FILES, DOCUMENT_CHARS)
        _, project = bench.run(["seed.curated_documents"])
        strategy = next(strategy for strategy in project.strategies if strategy.name == STRATEGY)
        planner = request_planner(strategy, project.rephraser, project.ledger, project.roots)
        names = [f"part-{place:05}.jsonl" for place in range(FILES)]
        requests = [p.request for n in names for p in planned_requests(candidates(project.lake, n), planner)]
        bare_seconds = asyncio.run(bare_client(address, requests, in_flight))
        stats(address)
        run, _ = bench.prepared([f"rephrased.{STRATEGY}"], [STRATEGY])
        started = time.perf_counter()
        run()
        seconds = time.perf_counter() - started
        seen = stats(address)
        if seen["requests"] != len(requests):
            raise SystemExit(f"the asset sent {seen['requests']} requests, the bare client {len(requests)}")
        return seconds, bare_seconds, seen["mean_in_flight"]


@click.command()
@click.option("--turns", default=3, help="How often each setting is measured.")
@click.option("--only", default="", help="Only settings whose name contains this.")
def main(turns: int, only: str) -> None:
    """Measure every setting."""
    for name, (latency_seconds, sigma, in_flight, waves, share) in SETTINGS.items():
        if only not in name:
            continue
        documents = in_flight * waves
        with model_server(latency_seconds, sigma) as address:
            # Not measured: the imports, which a long run does not notice.
            compare(address, in_flight, FILES)
            found = [compare(address, in_flight, documents) for _ in range(turns)]
        ratio = statistics.median(bare / ours for ours, bare, _ in found)
        ours, bare, mean_in_flight = (statistics.median(values) for values in zip(*found, strict=True))
        report(
            [
                Figure(
                    f"rephrasing through the whole asset, {name}, {documents} documents of 2 KB",
                    f"{documents / ours:.1f} requests/s",
                    f"{documents / bare:.1f} requests/s (bare AsyncOpenAI over aiohttp)",
                    ratio,
                    f"at least {share}",
                    ratio >= share,
                    f"{turns} turns; {mean_in_flight:.1f} of {in_flight} in flight on average",
                )
            ]
        )


if __name__ == "__main__":
    main()
