"""The Dagster code location: every asset, check, job, sensor and resource, put together in one place.

`build_defs(resource_overrides)` is the seam for tests and for projects that bring resources of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from synth_assets.assets.bill import cost
from synth_assets.assets.checks import build_checks
from synth_assets.assets.dead_runs import end_dead_runs
from synth_assets.assets.estimates import estimates
from synth_assets.assets.experiments import proxy_pretraining
from synth_assets.assets.exports import multistrategy_file
from synth_assets.assets.judge_scores import build_judge_scores_asset
from synth_assets.assets.keys import FILES_ROOT
from synth_assets.assets.merged import build_merged_assets
from synth_assets.assets.models import models
from synth_assets.assets.near_duplicates import near_duplicate_documents
from synth_assets.assets.perplexity import perplexity
from synth_assets.assets.quality_checks import build_quality_checks
from synth_assets.assets.rephrased import build_rephrased_asset
from synth_assets.assets.reports import build_html_asset, quality
from synth_assets.assets.seed import corpus_profile, curated_documents
from synth_assets.assets.serving import baseline
from synth_assets.assets.signatures import signatures
from synth_assets.assets.source_support import source_support
from synth_assets.assets.text_quality import text_quality
from synth_assets.assets.waste import build_waste_asset
from synth_assets.automation import automated, build_automation
from synth_assets.curator_partitions import build_curator_partitions
from synth_assets.dagster_home import open_instance
from synth_assets.jobs import build_bring_up_to_date
from synth_assets.project import Project, build_project, plain_resources
from synth_assets.sensors import build_sensors
from synth_assets.settings import Settings


def build_defs(resource_overrides: Mapping[str, Any] | None = None, settings: Settings | None = None) -> dg.Definitions:
    """All definitions of one project; `resource_overrides` replaces resources by name (see `synth_assets.project`)."""
    project = build_project(settings or Settings.from_environment(), **(resource_overrides or {}))
    return project_defs(project)


def table_defs(project: Project) -> dg.Definitions:
    """Assets and checks over a project's resources: all that there is to plan."""
    assets = [
        FILES_ROOT,
        models,
        curated_documents,
        corpus_profile,
        *(build_rephrased_asset(strategy, project.strategies) for strategy in project.strategies),
        *build_merged_assets(project.strategies),
        perplexity,
        text_quality,
        source_support,
        build_judge_scores_asset(project.settings.judge_share),
        signatures,
        near_duplicate_documents,
        baseline,
        build_waste_asset(project.strategies),
        cost,
        estimates,
        quality,
        build_html_asset(lambda: table_defs(project).resolve_asset_graph()),
        multistrategy_file,
        proxy_pretraining,
    ]
    return dg.Definitions(
        assets=automated(assets, project.lake),
        asset_checks=[*build_checks(project.strategies), *build_quality_checks()],
        resources=plain_resources(project),
        executor=dg.in_process_executor,
    )


def project_defs(project: Project) -> dg.Definitions:
    """The definitions over a project's resources."""
    tables = table_defs(project)
    job = build_bring_up_to_date(project, tables)
    sensors = [*build_sensors(project, job), build_curator_partitions(project, tables), build_automation()]
    return dg.Definitions.merge(tables, dg.Definitions(jobs=[job], sensors=sensors))


@dg.definitions
def defs() -> dg.Definitions:
    """What `workspace.yaml` loads: the project that the environment describes."""
    settings = Settings.from_environment()
    # A run of a killed process would hold its place in the queue, before any run could see to it.
    end_dead_runs(open_instance(settings.dagster_home))
    return build_defs(settings=settings)
