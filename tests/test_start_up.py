import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "altair", "openai", "data_designer", "pandas"}
"""Packages of half a second and more, none of which says anything about what is stale."""

PLAN = """
import sys
from synth_assets.cli import main
main(["plan", "--json"], standalone_mode=False)
# A lazy module stands there already, but its code has not run.
loaded = [name for name, module in sys.modules.items() if type(module).__name__ != "_LazyModule"]
print(sorted(loaded), file=sys.stderr)
"""


@pytest.fixture
def plan_modules(tmp_path: Path) -> Callable[[], set[str]]:
    def imported() -> set[str]:
        environment = {
            **os.environ,
            "SYNTH_HOME": str(tmp_path / "home"),
            # Nothing listens on port 1.
            "VLLM_BASE_URL": "http://127.0.0.1:1/v1",
        }
        command = [sys.executable, "-c", PLAN]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        names = done.stderr.splitlines()[-1].replace("'", "").strip("[]").split(", ")
        return {name.partition(".")[0] for name in names}

    return imported


def test_a_plan_imports_nothing_heavy_that_it_does_not_use(plan_modules: Callable[[], set[str]]) -> None:
    modules = plan_modules()
    assert "dagster" in modules
    assert not HEAVY & modules
