"""Root versions as they were last observed: what a look at the folder and the servers has put in Dagster's event log.

In: reading observations. Out: making them, which waits until a file is whole (`curator_partitions`). Whoever plans
from observations never sees a half-written file, and needs neither the folder nor a server.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import dagster as dg
from dagster import DagsterInstance

from resources.generations import read_generations
from resources.lake import Lake
from synth_assets.assets.keys import CURATOR_FILES, GENERATIONS_PREFIX, WHOLE_ROOT_KEYS
from synth_assets.assets.roots import generation_versions
from synth_assets.assets.versions import DATA_VERSION_TAG, PartitionVersions
from synth_assets.planning.files import RETIRED


class ObservedRoots:
    """`RootVersions` from the event log; each root is read once, when it is first asked for.

    Generations of answers are not observed but looked up in the lake.
    """

    def __init__(self, instance: DagsterInstance, lake: Lake) -> None:
        self._instance = instance
        self._lake = lake
        self._seen: dict[dg.AssetKey, PartitionVersions] = {}

    def of(self, key: dg.AssetKey) -> PartitionVersions | None:
        """Observed version by partition of a root, those of deleted files left out; None where the key is no root."""
        if key.path[0] == GENERATIONS_PREFIX:
            return self._generations.get(key)
        if key != CURATOR_FILES and key not in WHOLE_ROOT_KEYS:
            return None
        if key not in self._seen:
            self._seen[key] = self._files() if key == CURATOR_FILES else self._whole(key)
        return self._seen[key]

    @property
    def has_models(self) -> bool:
        """Whether models and evaluation sets were observed; they come last: the first observation is complete then."""
        return all(self.of(key) for key in WHOLE_ROOT_KEYS)

    @cached_property
    def _generations(self) -> Mapping[dg.AssetKey, PartitionVersions]:
        return generation_versions(read_generations(self._lake))

    def _files(self) -> PartitionVersions:
        logged = self._instance.event_log_storage.get_latest_tags_by_partition(
            CURATOR_FILES, dg.DagsterEventType.ASSET_OBSERVATION, [DATA_VERSION_TAG]
        )
        versions = {partition: tags.get(DATA_VERSION_TAG) for partition, tags in logged.items()}
        gone = RETIRED[DATA_VERSION_TAG]
        return {name: version for name, version in versions.items() if version is not None and version != gone}

    def _whole(self, key: dg.AssetKey) -> PartitionVersions:
        record = self._instance.get_latest_data_version_record(key)
        observation = record.asset_observation if record else None
        version = (observation.tags or {}).get(DATA_VERSION_TAG) if observation else None
        return {} if version is None else {None: version}
