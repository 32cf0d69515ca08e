"""Shared fixtures: a project in a temporary home against the fake server, a tiny reference model, the real server."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import hypothesis
import pytest

from resources.embedded_vllm import prepared_smollm2, vllm_python
from resources.errors import SynthError
from resources.lake import Lake
from resources.server_lifecycle import stop
from resources.server_process import start_embedded
from resources.server_state import RunningServer
from resources.testing import FakeServer
from resources.tiny_gpt2 import save_tiny_gpt2
from synth_assets.assets.keys import ASKED_FOR_BY_NAME, NEAR_DUPLICATES, SIGNATURES, TEXT_QUALITY
from synth_assets.core.perplexity import TextScore
from synth_assets.core.reference_model import ReferenceModel
from synth_assets.definitions import project_defs
from synth_assets.planning.run import RunSelection, RunSummary, StaleRunner
from synth_assets.project import Project, build_project
from synth_assets.settings import Settings


class LengthReference:
    """Stands in for a language model: a text's surprise is its length, so that no weights are needed."""

    model = ReferenceModel("length-reference", "", "1")

    def __init__(self) -> None:
        self.scored = 0

    def identity(self) -> str:
        return self.model.identity

    def score(self, texts: Sequence[str]) -> list[TextScore]:
        self.scored += len(texts)
        return [TextScore(math.log(2) * len(text), max(len(text), 1), max(len(text), 1)) for text in texts]


hypothesis.settings.register_profile("shared", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("shared")


@dataclass
class Workplace:
    """A project of its own in a temporary folder; each `run` is a fresh process's worth of state."""

    home: Path
    corpus: Path
    server: FakeServer
    instance: dg.DagsterInstance
    environment: dict[str, str] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)

    def project(self) -> Project:
        settings = Settings.from_environment(
            {
                "SYNTH_HOME": str(self.home),
                "CURATOR_OUTPUT_DIR": str(self.corpus),
                "VLLM_BASE_URL": self.server.base_url,
                "SYNTH_MODELS": str(self.home / "models"),
                "VLLM_MAX_PARALLEL_REQUESTS": "8",
                **self.environment,
            }
        )
        return build_project(settings, **{"reference": LengthReference(), **self.overrides})

    def run(
        self,
        strategies: Sequence[str] = (),
        files: Sequence[str] = (),
        has_reports: bool = False,
        has_measures: bool = False,
        is_regenerated: bool = False,
    ) -> tuple[RunSummary, Project]:
        """Bring everything up to date; reports, which draw charts, and measures only where a test is about them."""
        project = self.project()
        definitions = project_defs(project)
        excluded = [*ASKED_FOR_BY_NAME, *([] if has_measures else [TEXT_QUALITY, SIGNATURES, NEAR_DUPLICATES])]
        if not has_reports:
            every = definitions.resolve_asset_graph().get_all_asset_keys()
            excluded += [key for key in every if key.path[0] in ("reports", "export")]
        runner = StaleRunner(project, definitions, self.instance)
        return runner.run(RunSelection(strategies, files, excluded), is_regenerated), project

    def write(self, name: str, documents: Sequence[dict[str, Any]]) -> Path:
        path = self.corpus / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(document) + "\n" for document in documents))
        return path

    @property
    def lake(self) -> Lake:
        return self.project().lake

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return self.lake.query(sql).to_pylist()


def article(number: int, words: int = 140) -> dict[str, Any]:
    """An article of plain prose, different for each number, that every strategy takes."""
    sentences = [
        f"Station {number} recorded {number * 37 + index} measurements in the year {1900 + index}, and its keepers "
        f"wrote them down in a ledger that still exists."
        for index in range(max(words // 22, 1))
    ]
    half = len(sentences) // 2 or 1
    text = " ".join(sentences[:half]) + "\n\n" + " ".join(sentences[half:])
    return {
        "text": text, "title": f"Weather station {number}", "id": str(number), "language": "en",
        "url": f"https://example.org/{number}", "categories": ["Weather", f"Region {number % 3}"],
    }  # fmt: skip


@pytest.fixture
def make_article() -> Callable[..., dict[str, Any]]:
    return article


@pytest.fixture
def make_reference() -> type[LengthReference]:
    return LengthReference


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def workplace(tmp_path: Path, fake_server: FakeServer) -> Iterator[Workplace]:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        yield Workplace(tmp_path / "home", corpus, fake_server, instance)


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference model that costs no time."""
    return save_tiny_gpt2(tmp_path_factory.mktemp("models") / "tiny-gpt2")


@pytest.fixture
def start_synth(workplace: Workplace) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `synth` as a process on the workplace's home, without judge and perplexity weights; ends it at last."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **settings: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "SYNTH_HOME": str(workplace.home),
            "CURATOR_OUTPUT_DIR": str(workplace.corpus),
            "VLLM_BASE_URL": workplace.server.base_url,
            "VLLM_MAX_PARALLEL_REQUESTS": "2",
            "JUDGE_SHARE": "0",
            "HF_HUB_OFFLINE": "1",
            **settings,
        }
        synth = Path(sys.executable).with_name("synth")
        process = subprocess.Popen(
            [str(synth), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Where tests run in the background, SIGINT is ignored, and a child would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The real thing: vLLM on the CPU with SmolLM2."""
    try:
        vllm_python()
        prepared_smollm2()
    except SynthError as error:
        pytest.skip(str(error))
    home = tmp_path_factory.mktemp("embedded")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield start_embedded(home, port)
    stop(home)
