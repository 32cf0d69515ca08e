"""The models as observable assets, so that the UI can look at them, too, and sees what a changed one makes stale.

In: one observation of all of them. Out: what a model's version is (`roots`).
"""

from collections.abc import Iterator

import dagster as dg

from synth_assets.assets.keys import MODEL_ROOTS
from synth_assets.assets.versions import RootVersions


@dg.multi_observable_source_asset(specs=MODEL_ROOTS, name="models")
def models(roots: dg.ResourceParam[RootVersions]) -> Iterator[dg.ObserveResult]:
    """Ask the servers which model they serve now."""
    for spec in MODEL_ROOTS:
        for version in (roots.of(spec.key) or {}).values():
            yield dg.ObserveResult(asset_key=spec.key, data_version=dg.DataVersion(version))
