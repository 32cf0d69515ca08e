"""Asset keys, the partitions definition and the roots of the graph: what the asset modules share by name."""

from __future__ import annotations

import dagster as dg

from synth_assets.core.tables import TableSpec

CURATOR_FILE = dg.DynamicPartitionsDefinition(name="curator_file")
"""One partition is one file of the Curator folder."""

CURATOR_FILES = dg.AssetKey(["curator", "files"])
REPHRASER = dg.AssetKey(["serving", "rephraser"])
JUDGE = dg.AssetKey(["serving", "judge"])
PERPLEXITY_REFERENCE = dg.AssetKey(["serving", "perplexity_reference"])
EVALUATION_SETS = dg.AssetKey(["evaluation", "sets"])
HARDWARE = dg.AssetKey(["serving", "hardware"])

CURATED = dg.AssetKey(["seed", "curated_documents"])
MERGED = dg.AssetKey(["merged", "documents"])
MULTISTRATEGY = dg.AssetKey(["merged", "multistrategy"])
PERPLEXITY = dg.AssetKey(["metrics", "perplexity"])
JUDGE_SCORES = dg.AssetKey(["metrics", "judge_scores"])
TEXT_QUALITY = dg.AssetKey(["metrics", "text_quality"])
SOURCE_SUPPORT = dg.AssetKey(["metrics", "source_support"])
SIGNATURES = dg.AssetKey(["metrics", "signatures"])
NEAR_DUPLICATES = dg.AssetKey(["merged", "near_duplicates"])
BASELINE = dg.AssetKey(["serving", "baseline"])
PROXY_PRETRAINING = dg.AssetKey(["experiments", "proxy_pretraining"])
COST = dg.AssetKey(["reports", "cost"])
WASTE = dg.AssetKey(["reports", "waste"])
ESTIMATES = dg.AssetKey(["reports", "estimates"])

ASKED_FOR_BY_NAME = (BASELINE, PROXY_PRETRAINING, SOURCE_SUPPORT)
"""What neither a run nor automation makes: measuring the server costs calls of its own, the other two minutes."""

GENERATIONS_PREFIX = "generations"
"""First part of the keys of roots that are no assets: see `generations_key`."""


def table_key(spec: TableSpec) -> dg.AssetKey:
    """The asset key of a table: schema and table name."""
    return dg.AssetKey(spec.name.split("."))


def generations_key(key: dg.AssetKey) -> dg.AssetKey:
    """The root that says how often an asset's answers were asked for anew; no asset of the graph, and no parent."""
    return dg.AssetKey([GENERATIONS_PREFIX, *key.path])


def table_name(key: dg.AssetKey) -> str:
    """The table of an asset key."""
    return ".".join(key.path)


FILES_ROOT = dg.AssetSpec(
    CURATOR_FILES,
    partitions_def=CURATOR_FILE,
    group_name="curator",
    description="Files of the Curator folder; the data version is a hash of the file's bytes.",
    kinds={"file"},
)
"""Observed by whatever looks at the folder, never materialized."""

MODEL_ROOTS = [
    dg.AssetSpec(
        REPHRASER,
        group_name="serving",
        description="The model that rephrases: name and revision.",
        kinds={"vllm"},
    ),
    dg.AssetSpec(JUDGE, group_name="serving", description="The model that judges: name and revision.", kinds={"vllm"}),
    dg.AssetSpec(
        PERPLEXITY_REFERENCE,
        group_name="serving",
        description="The reference model for perplexity.",
        kinds={"transformers"},
    ),
]
"""The models that tables are made with: observed, never materialized."""

EVALUATION_ROOT = dg.AssetSpec(
    EVALUATION_SETS,
    group_name="evaluation",
    description="The evaluation sets that texts are kept free of: rules, names and bytes of the files.",
    kinds={"file"},
)
"""Observed as the models are; its version is `none` where no sets are configured."""

HARDWARE_ROOT = dg.AssetSpec(
    HARDWARE,
    group_name="serving",
    description="The hardware that costs are computed for, and its price: `COST_HARDWARE`, `COST_GPU_HOUR_USD`.",
)
"""What the bill rests on besides the tables: another price is another bill, and asks no model."""

WHOLE_ROOTS = [*MODEL_ROOTS, EVALUATION_ROOT, HARDWARE_ROOT]
"""The roots that have no partitions."""

WHOLE_ROOT_KEYS = tuple(spec.key for spec in WHOLE_ROOTS)

ONE_RUN = dg.BackfillPolicy.single_run()
"""Of every partitioned asset: one run may cover any number of files, so that the pipe never drains between them."""
