"""The check that fails a run in which partitions failed, without stopping the others on their way down.

In: one check for each partitioned asset, a step of its own that nothing waits for. Out: marking a partition as failed
(`partition_runs`). It is evaluated only in runs that go on below the asset; in any other the asset's own step fails.
"""

from collections.abc import Iterator

import dagster as dg

from synth_assets.assets.check_outcomes import FAILED_FILES
from synth_assets.assets.versions import FAILED_TAG, RootVersions, Versions


def build_made_check(key: dg.AssetKey) -> dg.AssetChecksDefinition:
    """The check `every_partition_was_made` of a partitioned asset."""

    spec = dg.AssetCheckSpec(
        "every_partition_was_made",
        asset=key,
        description="No file failed the last time that this was made from it; the run that it failed in fails, too.",
    )

    # The decorator for one check takes no generator, and what is to be kept must be yielded before the step fails.
    @dg.multi_asset_check(specs=[spec], name=f"{'__'.join(key.path)}_every_partition_was_made")
    def check(
        context: dg.AssetCheckExecutionContext, roots: dg.ResourceParam[RootVersions]
    ) -> Iterator[dg.AssetCheckResult]:
        tags = Versions(context.instance, context.job_def.asset_layer.asset_graph, roots).tags(key)
        failed_in = {str(name): found[FAILED_TAG] for name, found in tags.items() if FAILED_TAG in found}
        yield dg.AssetCheckResult(
            passed=not failed_in,
            description=f"{len(failed_in)} of {len(tags)} files failed",
            metadata={FAILED_FILES: dg.MetadataValue.json(sorted(failed_in)), "files": len(failed_in)},
        )
        failed_here = sorted(name for name, run_id in failed_in.items() if run_id == context.run.run_id)
        if failed_here:
            raise dg.Failure(_text(context.instance, key, failed_here), allow_retries=False)

    return check


def _text(instance: dg.DagsterInstance, key: dg.AssetKey, files: list[str]) -> str:
    """How many files failed, and why the first did, as its last materialization has it."""
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=files[:1])
    last = instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
    error = str(last.metadata["error"].value) if last else ""
    others = f" ({len(files) - 1} more failed)" if len(files) > 1 else ""
    return f"{len(files)} files failed; the others are kept and went on. {files[0]}: {error}{others}"
