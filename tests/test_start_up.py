import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from resources.generations import start_generation
from synth_assets.dagster_home import open_instance
from synth_assets.project import build_project
from synth_assets.settings import Settings

HEAVY = {"torch", "transformers", "altair", "openai", "data_designer", "pandas", "sqlalchemy", "alembic", "jinja2"}
"""Packages whose import takes long and says nothing about what is stale."""

PLAN = """
import sys
from synth_assets.cli import main
main(["plan", "--json"], standalone_mode=False)
# A lazy module stands there already, but its code has not run.
loaded = [name for name, module in sys.modules.items() if type(module).__name__ != "_LazyModule"]
print(sorted(loaded), file=sys.stderr)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def plan_modules(home: Path) -> Callable[[], set[str]]:
    def imported() -> set[str]:
        # Nothing listens on port 1.
        environment = {**os.environ, "SYNTH_HOME": str(home), "VLLM_BASE_URL": "http://127.0.0.1:1/v1"}
        command = [sys.executable, "-c", PLAN]
        done = subprocess.run(command, env=environment, cwd=home.parent, capture_output=True, text=True, check=True)
        return set(done.stderr.splitlines()[-1].replace("'", "").strip("[]").split(", "))

    return imported


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_the_first_plan_imports_nothing_heavy_that_it_does_not_use(plan_modules: Callable[[], set[str]]) -> None:
    modules = plan_modules()
    assert "dagster" in modules
    assert not HEAVY & packages(modules)
    assert "pyarrow.compute" not in modules


def test_a_plan_over_a_history_and_a_lake_imports_no_more(plan_modules: Callable[[], set[str]], home: Path) -> None:
    project = build_project(Settings.from_environment({"SYNTH_HOME": str(home)}))
    start_generation(project.lake, ["distill"], [])
    with open_instance(project.settings.dagster_home) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("reports"))
    assert not HEAVY & packages(plan_modules())


def test_a_plan_writes_nothing(plan_modules: Callable[[], set[str]], home: Path) -> None:
    plan_modules()
    assert not home.exists()
