"""A project in a temporary home against a model server of its own, documents, and how a figure is written.

In: setting up and tearing down. Out: what is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

warnings.filterwarnings("ignore")

import dagster as dg  # noqa: E402
import httpx  # noqa: E402

from resources.embedded_vllm import prepared_smollm2  # noqa: E402
from synth_assets.commands.opening import keep_what_is_loaded  # noqa: E402
from synth_assets.definitions import project_defs  # noqa: E402
from synth_assets.planning.run import RunSelection, RunSummary, StaleRunner  # noqa: E402
from synth_assets.project import Project, build_project  # noqa: E402
from synth_assets.settings import Settings  # noqa: E402
from workbench.prose import sentence  # noqa: E402


@dataclass(frozen=True)
class Figure:
    """One measured figure beside what it is held against; `ratio` is ours ÷ theirs, in the direction of the target."""

    what: str
    ours: str
    against: str
    ratio: float | None
    target: str
    is_reached: bool | None
    note: str = ""


def report(figures: Sequence[Figure]) -> None:
    """Print the figures; append them to the file that BENCH_FIGURES names."""
    for figure in figures:
        ratio = "" if figure.ratio is None else f" = {figure.ratio:.3f}"
        verdict = {True: "reached", False: "NOT reached", None: "stated"}[figure.is_reached]
        print(
            f"{figure.what}: {figure.ours} against {figure.against}{ratio}; {figure.target}: {verdict}. {figure.note}"
        )
    if path := os.environ.get("BENCH_FIGURES"):
        with Path(path).open("a") as file:
            file.writelines(json.dumps(asdict(figure)) + "\n" for figure in figures)


def document(number: int, chars: int) -> dict[str, str]:
    """A document of about `chars` characters in plain sentences, different for each number."""
    rng = random.Random(number)
    text = f"Record {number}."
    while len(text) < chars:
        text += " " + sentence(rng)
    return {
        "title": f"Weather record {number}",
        "text": text[:chars].rstrip() + ".",
        "id": str(number),
        "language": "en",
    }


def write_corpus(folder: Path, file_count: int, documents_per_file: int, chars: int) -> None:
    """Curator files of numbered documents."""
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(file_count):
        first = place * documents_per_file
        with (folder / f"part-{place:05}.jsonl").open("w") as file:
            for number in range(first, first + documents_per_file):
                file.write(json.dumps(document(number, chars)) + "\n")


@contextlib.contextmanager
def model_server(latency_seconds: float, sigma: float = 0.0, answer_chars: int = 2048) -> Iterator[str]:
    """A model server in a process of its own; yields its address without /v1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [
        "--port",
        port,
        "--latency-seconds",
        latency_seconds,
        "--sigma",
        sigma,
        "--answer-chars",
        answer_chars,
        "--model-root",
        prepared_smollm2(),
    ]
    command = [sys.executable, "-m", "workbench.model_server", *map(str, options)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1])
    address = f"http://127.0.0.1:{port}"
    try:
        while process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{address}/health")
                break
            time.sleep(0.1)
        else:
            raise SystemExit("the model server has ended before it answered")
        yield address
    finally:
        process.kill()
        process.wait()


def stats(address: str) -> dict[str, float]:
    """What the model server has counted since the last look."""
    return httpx.get(f"{address}/stats?reset=1").json()


@dataclass
class Bench:
    """A project in a folder; each `run` is a process's worth of state, as `synth run` has it."""

    home: Path
    corpus: Path
    address: str
    instance: dg.DagsterInstance
    max_parallel_requests: int = 64
    settings: dict[str, str] = field(default_factory=dict)

    def project(self) -> Project:
        """A fresh project over the same home."""
        return build_project(
            Settings.from_environment(
                {
                    "SYNTH_HOME": str(self.home),
                    "CURATOR_OUTPUT_DIR": str(self.corpus),
                    "VLLM_BASE_URL": f"{self.address}/v1",
                    "VLLM_MAX_PARALLEL_REQUESTS": str(self.max_parallel_requests),
                    **self.settings,
                }
            )
        )

    def prepared(self, only: Sequence[str], strategies: Sequence[str] = ()) -> tuple[Callable[[], RunSummary], Project]:
        """A run that brings the assets named (`schema.table`) up to date and nothing else; its definitions are made."""
        project = self.project()
        definitions = project_defs(project)
        keys = definitions.resolve_asset_graph().get_all_asset_keys()
        others = [key for key in keys if ".".join(key.path) not in only]
        runner = StaleRunner(project, definitions, self.instance)
        # As the command does.
        keep_what_is_loaded()

        def run() -> RunSummary:
            summary = runner.run(RunSelection(strategies, (), others))
            if summary.failed:
                raise SystemExit(f"the run failed: {summary.errors}")
            return summary

        return run, project

    def run(self, only: Sequence[str], strategies: Sequence[str] = ()) -> tuple[RunSummary, Project]:
        """Bring the assets named up to date, and nothing else."""
        run, project = self.prepared(only, strategies)
        return run(), project
