"""Asset checks: what must hold in the tables whatever the model said.

In: unique keys, validity of structured answers, truncation, and the faithfulness floor. Out: dropping anything; a check
only says that something is wrong and where. Whether documents add up, and how many are dropped, is `accounts_check`.
What follows where a blocking check fails for a file is `check_outcomes`; the check that fails a run is `made_check`.
"""

from collections.abc import Sequence

import dagster as dg

from resources.lake import Lake
from resources.lake_errors import NoTableError
from synth_assets.assets.accounts_check import build_accounts_check
from synth_assets.assets.check_outcomes import ROWS_ARE_UNIQUE, ROWS_HAVE_STRUCTURE, result_by_file
from synth_assets.assets.keys import CURATED, JUDGE_SCORES, MERGED, MULTISTRATEGY, PERPLEXITY, SIGNATURES, table_key
from synth_assets.assets.made_check import build_made_check
from synth_assets.assets.unique_rows import files_with_shared_rows
from synth_assets.core.strategy import Strategy
from synth_assets.core.tables import CURATED_DOCUMENTS, MERGED_DOCUMENTS, rephrased
from synth_assets.core.tables import JUDGE_SCORES as JUDGE_TABLE

MAX_TRUNCATED_SHARE = 0.2
"""More answers than this cut by max_tokens: the token limits do not fit the model."""
FAITHFULNESS_FLOOR = 2.5
"""Mean faithfulness (1 to 5) under which a strategy is not fit to train on."""


def build_checks(strategies: Sequence[Strategy]) -> list[dg.AssetChecksDefinition]:
    """All checks, those of the strategies from the registry."""
    names = [rephrased(strategy.name) for strategy in strategies]
    partitioned = [CURATED, *map(table_key, names), MERGED, MULTISTRATEGY, PERPLEXITY, JUDGE_SCORES, SIGNATURES]
    return [
        *map(build_made_check, partitioned),
        _rows_are_unique(CURATED, CURATED_DOCUMENTS.name, ("curator_file", "row_number")),
        _rows_are_unique(MERGED, MERGED_DOCUMENTS.name, ("merged_id",)),
        *(build_accounts_check(strategy) for strategy in strategies),
        *(_truncation(strategy) for strategy in strategies),
        *(_structure(strategy) for strategy in strategies if strategy.wire_model is not None),
        _faithfulness(),
    ]


def _rows_are_unique(key: dg.AssetKey, table: str, columns: Sequence[str]) -> dg.AssetChecksDefinition:
    names = ", ".join(columns)

    @dg.asset_check(asset=key, name=ROWS_ARE_UNIQUE, blocking=True, description=f"No two rows share {names}.")
    def check(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        return result_by_file(files_with_shared_rows(lake, table, columns), f"files with rows that share {names}")

    return check


def _truncation(strategy: Strategy) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=table_key(rephrased(strategy.name)),
        name="few_answers_are_truncated",
        description=f"At most {MAX_TRUNCATED_SHARE:.0%} of this strategy's answers were cut by max_tokens.",
    )
    def check(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        try:
            [row] = lake.query(
                "SELECT count(*) FILTER (finish_reason = 'length') AS cut, count(*) AS n "
                "FROM ledger.completions WHERE strategy = ?",
                [strategy.name],
            ).to_pylist()
        except NoTableError:
            row = {"cut": 0, "n": 0}
        share = row["cut"] / row["n"] if row["n"] else 0.0
        return dg.AssetCheckResult(
            passed=share <= MAX_TRUNCATED_SHARE,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{row['cut']} of {row['n']} answers were cut",
            metadata={"truncated_share": share},
        )

    return check


def _structure(strategy: Strategy) -> dg.AssetChecksDefinition:
    table = rephrased(strategy.name).name
    sql = f"SELECT DISTINCT curator_file FROM {table} WHERE structured IS NULL ORDER BY 1"  # noqa: S608

    @dg.asset_check(
        asset=table_key(rephrased(strategy.name)),
        name=ROWS_HAVE_STRUCTURE,
        blocking=True,
        description="Each row holds the validated structured answer beside its text.",
    )
    def check(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        return result_by_file(lake.query(sql)["curator_file"].to_pylist(), "files with rows without structure")

    return check


def _faithfulness() -> dg.AssetChecksDefinition:
    sql = (
        f"SELECT strategy, avg(faithfulness) AS mean FROM {JUDGE_TABLE.name} GROUP BY 1 "  # noqa: S608
        "HAVING avg(faithfulness) < ? ORDER BY 1"
    )

    @dg.asset_check(
        asset=JUDGE_SCORES,
        name="faithfulness_is_above_the_floor",
        description=f"Mean faithfulness of every strategy is at least {FAITHFULNESS_FLOOR}.",
    )
    def check(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        low = lake.query(sql, [FAITHFULNESS_FLOOR]).to_pylist()
        names = ", ".join(f"{row['strategy']} {row['mean']:.2f}" for row in low)
        return dg.AssetCheckResult(
            passed=not low,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"below the floor: {names or 'none'}",
        )

    return check
