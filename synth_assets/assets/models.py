"""Models and evaluation sets as observable assets: the UI can look at them, too, and sees what a change makes stale.

In: one observation of all of them. Out: what the version of each is (`roots`).
"""

from collections.abc import Iterator

import dagster as dg

from synth_assets.assets.keys import WHOLE_ROOTS
from synth_assets.assets.versions import RootVersions


@dg.multi_observable_source_asset(specs=WHOLE_ROOTS, name="models")
def models(roots: dg.ResourceParam[RootVersions]) -> Iterator[dg.ObserveResult]:
    """Ask the servers which model they serve now, and look at the evaluation sets."""
    for spec in WHOLE_ROOTS:
        for version in (roots.of(spec.key) or {}).values():
            yield dg.ObserveResult(asset_key=spec.key, data_version=dg.DataVersion(version))
