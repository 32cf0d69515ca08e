"""Whether a strategy's documents add up, and how many of them are left: three checks with one look at the tables.

In: rows and drops by file against the seed's candidates. Out: the other checks (`checks`, `quality_checks`), and what
follows from a failed blocking check (`check_outcomes`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from resources.lake import Lake
from synth_assets.assets.check_outcomes import DOCUMENTS_ADD_UP, MOST_DOCUMENTS_SURVIVE, result_by_file
from synth_assets.assets.keys import table_key
from synth_assets.core.gates import STAGE
from synth_assets.core.strategy import Strategy
from synth_assets.core.tables import CURATED_DOCUMENTS, DROPS, rephrased

FEW_ARE_DROPPED = "few_documents_are_dropped"
MAX_LOST_SHARE = 0.9
"""A file of which gates and truncation take more than this was not rephrased: the prompt does not suit it."""
MAX_DROP_SHARE = 0.5
"""Half of what was paid for is thrown away."""
LEAST_DOCUMENTS = 20
"""Of fewer documents no share says much."""


def build_accounts_check(strategy: Strategy) -> dg.AssetChecksDefinition:
    """The checks of one strategy's accounts. They share a step: each step more costs every run some 50 ms."""
    key = table_key(rephrased(strategy.name))
    # A file that was not rephrased yet has no account.
    sql = (
        "SELECT curator_file, sum(seeds)::BIGINT AS seeds, sum(made)::BIGINT AS made, "  # noqa: S608
        "sum(dropped)::BIGINT AS dropped, sum(lost)::BIGINT AS lost FROM ("
        f"SELECT curator_file, 1 AS seeds, 0 AS made, 0 AS dropped, 0 AS lost FROM {CURATED_DOCUMENTS.name} "
        "WHERE is_candidate AND NOT is_duplicate UNION ALL "
        f"SELECT curator_file, 0, 1, 0, 0 FROM {rephrased(strategy.name).name} UNION ALL "
        f"SELECT curator_file, 0, 0, 1, (stage = ? OR reason = 'truncated')::INT FROM {DROPS.name} WHERE strategy = ?) "
        "GROUP BY 1 HAVING sum(seeds) > 0 AND sum(made) + sum(dropped) > 0 ORDER BY 1"
    )
    specs = [
        dg.AssetCheckSpec(
            DOCUMENTS_ADD_UP,
            asset=key,
            blocking=True,
            description="Every candidate of a file is a row or a named drop.",
        ),
        dg.AssetCheckSpec(
            MOST_DOCUMENTS_SURVIVE,
            asset=key,
            blocking=True,
            description=f"Gates and max_tokens take at most {MAX_LOST_SHARE:.0%} of a file's documents, where it has "
            f"{LEAST_DOCUMENTS} or more.",
        ),
        dg.AssetCheckSpec(
            FEW_ARE_DROPPED,
            asset=key,
            description=f"At most {MAX_DROP_SHARE:.0%} of this strategy's documents were dropped, for whatever reason.",
        ),
    ]

    @dg.multi_asset_check(specs=specs, name=f"{'__'.join(key.path)}_accounts", can_subset=True)
    def check(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> Iterator[dg.AssetCheckResult]:
        accounts = lake.query(sql, [STAGE, strategy.name]).to_pylist()
        wanted = {asked.name for asked in context.selected_asset_check_keys}
        for result in _results(accounts):
            if result.check_name in wanted:
                yield result

    return check


def _results(accounts: Sequence[dict[str, Any]]) -> Iterator[dg.AssetCheckResult]:
    unequal = [row["curator_file"] for row in accounts if row["seeds"] != row["made"] + row["dropped"]]
    yield result_by_file(unequal, "files that do not add up", DOCUMENTS_ADD_UP)
    emptied = [
        row["curator_file"]
        for row in accounts
        if row["seeds"] >= LEAST_DOCUMENTS and row["lost"] > MAX_LOST_SHARE * row["seeds"]
    ]
    yield result_by_file(emptied, "files that hardly a document of is left", MOST_DOCUMENTS_SURVIVE)
    dropped = sum(row["dropped"] for row in accounts)
    total = dropped + sum(row["made"] for row in accounts)
    share = dropped / total if total else 0.0
    yield dg.AssetCheckResult(
        check_name=FEW_ARE_DROPPED,
        passed=share <= MAX_DROP_SHARE or total < LEAST_DOCUMENTS,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{dropped} of {total} documents were dropped",
        metadata={"drop_share": share},
    )
