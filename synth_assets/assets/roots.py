"""The live versions of what the graph rests on: files, models, evaluation sets, hardware, generations of answers.

In: looking, once for each process and root. Out: deciding what a changed version means (`versions`, `planning`).
"""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
from dagster import DagsterInstance

from resources.generations import Generations
from resources.model_endpoint import ModelEndpoint
from synth_assets.assets.keys import (
    CURATOR_FILES,
    EVALUATION_SETS,
    GENERATIONS_PREFIX,
    HARDWARE,
    JUDGE,
    PERPLEXITY_REFERENCE,
    REPHRASER,
    WHOLE_ROOT_KEYS,
    generations_key,
    table_key,
)
from synth_assets.assets.versions import DATA_VERSION_TAG, PartitionVersions, RootVersions
from synth_assets.core.hardware import Hardware
from synth_assets.core.tables import rephrased
from synth_assets.curator_folder import CuratorFolder

UNKNOWN = "unknown"
"""Version of a model while no server was ever seen: everything made with it is stale as soon as one is."""


class Roots:
    """Live root versions; each is looked up once and kept, so that one run sees one state of the world."""

    def __init__(
        self,
        curator: CuratorFolder,
        rephraser: ModelEndpoint,
        judge: ModelEndpoint,
        reference_identity: Callable[[], str],
        evaluation_version: Callable[[], str],
        hardware: Hardware,
        read_generations: Callable[[], Generations],
    ) -> None:
        self._looks: dict[dg.AssetKey, Callable[[], PartitionVersions]] = {
            CURATOR_FILES: lambda: {**curator.versions()},
            REPHRASER: lambda: {None: model_version(rephraser)},
            JUDGE: lambda: {None: model_version(judge)},
            PERPLEXITY_REFERENCE: lambda: {None: reference_identity()},
            EVALUATION_SETS: lambda: {None: evaluation_version()},
            HARDWARE: lambda: {None: f"{hardware.name} at {hardware.usd_per_gpu_hour:g} USD"},
        }
        self._seen: dict[dg.AssetKey, PartitionVersions] = {}
        self._read_generations = read_generations
        self._generations: dict[dg.AssetKey, PartitionVersions] | None = None

    def of(self, key: dg.AssetKey) -> PartitionVersions | None:
        """Live version by partition of a root; None where the key is no root."""
        if key.path[0] == GENERATIONS_PREFIX:
            if self._generations is None:
                self.assume(self._read_generations())
            return (self._generations or {}).get(key)
        if key not in self._looks:
            return None
        if key not in self._seen:
            self._seen[key] = self._looks[key]()
        return self._seen[key]

    def forget(self) -> None:
        """Look again at everything the next time it is asked for."""
        self._seen.clear()
        self._generations = None

    def assume(self, generations: Generations) -> None:
        """Go on, until told to forget, as if these were the generations."""
        self._generations = generation_versions(generations)


def generation_versions(generations: Generations) -> dict[dg.AssetKey, PartitionVersions]:
    """Generations in the form of root versions; the partition None stands for all files."""
    return {
        generations_key(table_key(rephrased(strategy))): {file: str(number) for file, number in files.items()}
        for strategy, files in generations.numbers.items()
    }


def model_version(endpoint: ModelEndpoint) -> str:
    """Name and revision of the model behind an endpoint."""
    model = endpoint.known_model()
    return UNKNOWN if model is None else f"{model.name}@{model.revision}"


def observe_roots(instance: DagsterInstance, roots: RootVersions) -> None:
    """Log an observation for each root whose version is new, so that Dagster's UI sees the same changes."""
    for key in (CURATOR_FILES, *WHOLE_ROOT_KEYS):
        live = roots.of(key) or {}
        if key == CURATOR_FILES:
            logged = instance.event_log_storage.get_latest_tags_by_partition(
                key, dg.DagsterEventType.ASSET_OBSERVATION, [DATA_VERSION_TAG]
            )
            known: dict[str | None, str | None] = {p: tags.get(DATA_VERSION_TAG) for p, tags in logged.items()}
        else:
            record = instance.get_latest_data_version_record(key)
            observation = record.asset_observation if record else None
            known = {None: (observation.tags or {}).get(DATA_VERSION_TAG) if observation else None}
        for partition, version in live.items():
            if known.get(partition) != version:
                instance.report_runless_asset_event(
                    dg.AssetObservation(key, partition=partition, tags={DATA_VERSION_TAG: version})
                )
