"""The wide Parquet file as an asset, so that it is as fresh as the tables it is made of."""

import dagster as dg

from resources.lake import Lake
from synth_assets.assets.keys import MULTISTRATEGY
from synth_assets.assets.single_runs import upstream_tag
from synth_assets.assets.versions import RootVersions
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.documents import content_fingerprint
from synth_assets.exporting.wide_form import export_wide
from synth_assets.settings import Settings

EXPORT = dg.AssetKey(["export", "multistrategy"])


@dg.asset(
    key=EXPORT,
    deps=[MULTISTRATEGY],
    group_name="export",
    kinds={"parquet"},
    description="`wiki_synthetic_multistrategy.parquet` under SYNTH_HOME/exports: one row for each seed document.",
    code_version=code_fingerprint(export_wide),
)
def multistrategy_file(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    roots: dg.ResourceParam[RootVersions],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult:
    """Write the file; a reader sees the old one or the new one."""
    tags = upstream_tag(context, roots, EXPORT)
    written = export_wide(lake, settings.exports_dir, "parquet")
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(str(written.path)),
            "dagster/row_count": written.rows,
            "size_bytes": written.bytes,
        },
        data_version=dg.DataVersion(content_fingerprint(written.path)),
        tags=tags,
    )
