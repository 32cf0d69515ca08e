"""One run in a process of its own, for `test_crash` to kill: the planner and every asset but the reports.

Executed by path with two globals: `environment`, the settings of the project, and `strategies`, the names to run.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from synth_assets.assets.keys import ASKED_FOR_BY_NAME
from synth_assets.core.perplexity import TextScore
from synth_assets.core.reference_model import ReferenceModel
from synth_assets.dagster_home import open_instance
from synth_assets.definitions import project_defs
from synth_assets.planning.run import RunSelection, StaleRunner
from synth_assets.project import build_project
from synth_assets.settings import Settings


class LengthReference:
    """Stands in for a language model, which would take seconds to load."""

    model = ReferenceModel("length-reference", "", "1")

    def identity(self) -> str:
        return self.model.identity

    def score(self, texts: Sequence[str]) -> list[TextScore]:
        return [TextScore(math.log(2) * len(text), max(len(text), 1), max(len(text), 1)) for text in texts]


def run(environment: dict[str, str], strategies: Sequence[str]) -> None:
    settings = Settings.from_environment(environment)
    project = build_project(settings, reference=LengthReference())
    definitions = project_defs(project)
    assets = definitions.resolve_asset_graph().get_all_asset_keys()
    reports = [key for key in assets if key.path[0] in ("reports", "export")]
    runner = StaleRunner(project, definitions, open_instance(settings.dagster_home))
    summary = runner.run(RunSelection(strategies, (), (*ASKED_FOR_BY_NAME, *reports)))
    # Without the interpreter's end, which waits for the model client's threads.
    os._exit(1 if summary.failed else 0)


run(globals()["environment"], globals()["strategies"])
