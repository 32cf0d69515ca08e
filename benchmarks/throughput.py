"""Rephrasing through the whole asset against a bare client that sends the same requests and keeps nothing.

The asset's time is that of a whole stale-only run over one strategy: planning, segmentation, keys, ledger look-ups,
generation, commits, post-processing and the table. The bare client is AsyncOpenAI over aiohttp, the fastest one (of
the clients compared in `peers.py`). Both send to the same server; they take turns, and the middle of the ratios counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import dagster as dg
import httpx
from workbench.bare_client import bare_client
from workbench.project import Bench, Figure, document, model_server, report, stats, write_corpus

from resources.inference import CompletionRequest
from resources.server_lifecycle import stop
from resources.server_process import start_embedded
from synth_assets.assets.rephrased import candidates, request_planner
from synth_assets.core.request_planning import planned_requests

STRATEGY = "distill"
DOCUMENT_CHARS = 2048
FILES = 4
SETTINGS = {
    # name: latency in seconds, sigma of its logarithm, requests in flight, waves, share that is to be reached
    "1 to 4 s (log-normal), 64 in flight": (2.0, 0.35, 64, 10, 0.97),
    "1 to 4 s (log-normal), 256 in flight": (2.0, 0.35, 256, 10, 0.97),
    "fixed 50 ms, 64 in flight": (0.05, 0.0, 64, 200, 0.9),
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
        run, project = bench.prepared([f"rephrased.{STRATEGY}"], [STRATEGY])
        # In a run of everything the seed has counted with it: its file, 0.1 s, is read already.
        project.rephraser.tokenizer().count_tokens([""])
        started = time.perf_counter()
        run()
        seconds = time.perf_counter() - started
        seen = stats(address)
        if seen["requests"] != len(requests):
            raise SystemExit(f"the asset sent {seen['requests']} requests, the bare client {len(requests)}")
        # Dropped documents would be less work than it says.
        made = project.lake.query(f"SELECT count(*) AS made FROM rephrased.{STRATEGY}")["made"][0].as_py()
        if made != documents // FILES * FILES:
            raise SystemExit(f"{made} of {documents} documents were rephrased")
        return seconds, bare_seconds, seen["mean_in_flight"]


REAL_IN_FLIGHT, REAL_DOCUMENTS, REAL_OUTPUT_TOKENS, REAL_SHARE = 16, 160, 32, 0.97
"""Small, since vLLM makes some 100 tokens/s on two cores."""


@contextlib.contextmanager
def real_server() -> Iterator[str]:
    """vLLM on the CPU with SmolLM2; yields its address without /v1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield start_embedded(Path(folder), port).base_url.removesuffix("/v1")
        finally:
            stop(Path(folder))


def prefix_cache(address: str) -> tuple[float, float]:
    """Prompt tokens that the server has looked for in its prefix cache, and those that it has found there."""
    text = httpx.get(f"{address}/metrics").text

    def counter(name: str) -> float:
        found = re.search(rf"^vllm:prefix_cache_{name}_total\S* (\S+)$", text, re.MULTILINE)
        if found is None:
            raise SystemExit(f"{address}/metrics has no vllm:prefix_cache_{name}_total")
        return float(found[1])

    return counter("queries"), counter("hits")


@contextlib.contextmanager
def real_bench(address: str, first: int, count: int) -> Iterator[tuple[Bench, list[CompletionRequest], str]]:
    """A project over `count` documents from number `first` on, its requests, and the model that they are for."""
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral(tempdir=folder) as instance:
        limit = {"MAX_OUTPUT_TOKENS": str(REAL_OUTPUT_TOKENS)}
        bench = Bench(Path(folder, "home"), Path(folder, "corpus"), address, instance, REAL_IN_FLIGHT, limit)
        bench.corpus.mkdir()
        lines = [json.dumps(document(number, DOCUMENT_CHARS)) + "\n" for number in range(first, first + count)]
        Path(bench.corpus, "part.jsonl").write_text("".join(lines))
        _, project = bench.run(["seed.curated_documents"])
        strategy = next(strategy for strategy in project.strategies if strategy.name == STRATEGY)
        planner = request_planner(strategy, project.rephraser, project.ledger, project.roots)
        requests = [planned.request for planned in planned_requests(candidates(project.lake, "part.jsonl"), planner)]
        yield bench, requests, planner.model.name


def compare_real(address: str, first: int, count: int) -> tuple[float, float, float]:
    """Requests/s of the asset and of the bare client, and the share of the asset's prompt tokens found in the cache.

    Each sends documents that the server has never seen: of what one has asked, the other finds nothing but the system
    prompt, which both find.
    """
    with real_bench(address, first, count) as (_, requests, model):
        bare = len(requests) / asyncio.run(bare_client(address, requests, REAL_IN_FLIGHT, model=model))
    with real_bench(address, first + count, count) as (bench, requests, _):
        run, _ = bench.prepared([f"rephrased.{STRATEGY}"], [STRATEGY])
        queries_before, hits_before = prefix_cache(address)
        started = time.perf_counter()
        run()
        ours = len(requests) / (time.perf_counter() - started)
        queries, hits = prefix_cache(address)
        return ours, bare, (hits - hits_before) / (queries - queries_before)


def measure_real(turns: int) -> None:
    """The same against vLLM itself, and how much of the asset's prompts its prefix cache holds."""
    with real_server() as address:
        # Not measured: imports, vLLM's first batches, and the first sight of the system prompt.
        compare_real(address, 0, 2)
        found = [compare_real(address, 100 + 2 * turn * REAL_DOCUMENTS, REAL_DOCUMENTS) for turn in range(turns)]
    ratio = statistics.median(ours / bare for ours, bare, _ in found)
    ours, bare, hit_rate = (statistics.median(values) for values in zip(*found, strict=True))
    where = f"vLLM on the CPU with SmolLM2-135M, {REAL_DOCUMENTS} documents of 2 KB, {REAL_IN_FLIGHT} in flight, "
    where += f"{REAL_OUTPUT_TOKENS} tokens an answer"
    report(
        [
            Figure(
                f"rephrasing through the whole asset, {where}",
                f"{ours:.2f} requests/s",
                f"{bare:.2f} requests/s (bare AsyncOpenAI over aiohttp)",
                ratio,
                f"at least {REAL_SHARE}",
                ratio >= REAL_SHARE,
                f"{turns} turns; different documents for each, so that neither finds the other's in the prefix cache",
            ),
            Figure(
                f"prefix-cache hit rate of the asset's requests, {where}",
                f"{hit_rate:.1%} of the prompt tokens",
                "-",
                None,
                "stated",
                None,
                "from the server's /metrics",
            ),
        ]
    )


@click.command()
@click.option("--turns", default=3, help="How often each setting is measured.")
@click.option("--only", default="", help="Only settings whose name contains this.")
@click.option("--only-real", is_flag=True, help="Against vLLM on the CPU instead of the fake servers.")
def main(turns: int, only: str, only_real: bool) -> None:
    """Measure every setting."""
    if only_real:
        measure_real(turns)
        return
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
