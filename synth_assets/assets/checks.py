"""Asset checks: what must hold in the tables whatever the model said.

In: completeness (documents in = rows + drops), unique keys, validity of structured answers, truncation, and the
faithfulness floor. Out: dropping anything; a check only says that something is wrong and where. What follows where a
blocking check fails for a file is `check_outcomes`; the check that fails a run is `made_check`.
"""

from collections.abc import Sequence

import dagster as dg

from resources.lake import Lake
from synth_assets.assets.check_outcomes import DOCUMENTS_ADD_UP, FAILED_FILES, ROWS_ARE_UNIQUE, ROWS_HAVE_STRUCTURE
from synth_assets.assets.keys import CURATED, JUDGE_SCORES, MERGED, MULTISTRATEGY, PERPLEXITY, table_key
from synth_assets.assets.made_check import build_made_check
from synth_assets.core.strategy import Strategy
from synth_assets.core.tables import CURATED_DOCUMENTS, DROPS, MERGED_DOCUMENTS, rephrased
from synth_assets.core.tables import JUDGE_SCORES as JUDGE_TABLE

FILES_NAMED = 5
"""Files named in a check's description; its metadata has all of them."""
MAX_TRUNCATED_SHARE = 0.2
"""More answers than this cut by max_tokens: the token limits do not fit the model."""
FAITHFULNESS_FLOOR = 2.5
"""Mean faithfulness (1 to 5) under which a strategy is not fit to train on."""


def build_checks(strategies: Sequence[Strategy]) -> list[dg.AssetChecksDefinition]:
    """All checks, those of the strategies from the registry."""
    names = [rephrased(strategy.name) for strategy in strategies]
    partitioned = [CURATED, *map(table_key, names), MERGED, MULTISTRATEGY, PERPLEXITY, JUDGE_SCORES]
    return [
        *map(build_made_check, partitioned),
        _rows_are_unique(CURATED, CURATED_DOCUMENTS.name, "curator_file, row_number"),
        _rows_are_unique(MERGED, MERGED_DOCUMENTS.name, "merged_id"),
        *(_completeness(strategy) for strategy in strategies),
        *(_truncation(strategy) for strategy in strategies),
        *(_structure(strategy) for strategy in strategies if strategy.wire_model is not None),
        _faithfulness(),
    ]


def _by_file(files: Sequence[str], violation: str) -> dg.AssetCheckResult:
    """The result of a blocking check: it stops what rests on the named files and, by its severity, nothing else."""
    named = ", ".join(files[:FILES_NAMED]) + (", …" if len(files) > FILES_NAMED else "")
    return dg.AssetCheckResult(
        passed=not files,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{violation}: {named or 'none'}",
        metadata={FAILED_FILES: dg.MetadataValue.json(list(files)), "files": len(files)},
    )


def _rows_are_unique(key: dg.AssetKey, table: str, columns: str) -> dg.AssetChecksDefinition:
    sql = (
        f"SELECT DISTINCT curator_file FROM {table} "  # noqa: S608
        f"WHERE ({columns}) IN (SELECT ({columns}) FROM {table} GROUP BY {columns} HAVING count(*) > 1) ORDER BY 1"
    )

    @dg.asset_check(asset=key, name=ROWS_ARE_UNIQUE, blocking=True, description=f"No two rows share {columns}.")
    def check(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        return _by_file(lake.query(sql)["curator_file"].to_pylist(), f"files with rows that share {columns}")

    return check


def _completeness(strategy: Strategy) -> dg.AssetChecksDefinition:
    """In = out + drops, for each file that the strategy has been run on."""
    table = rephrased(strategy.name).name
    sql = (
        "WITH seeds AS (SELECT curator_file, count(*) AS n "  # noqa: S608
        f"FROM {CURATED_DOCUMENTS.name} WHERE is_candidate AND NOT is_duplicate GROUP BY 1), "
        f"made AS (SELECT curator_file, count(*) AS n FROM {table} GROUP BY 1), "
        f"dropped AS (SELECT curator_file, count(*) AS n FROM {DROPS.name} WHERE strategy = ? GROUP BY 1) "
        "SELECT seeds.curator_file FROM seeds LEFT JOIN made USING (curator_file) "
        "LEFT JOIN dropped USING (curator_file) WHERE (made.n IS NOT NULL OR dropped.n IS NOT NULL) "
        "AND seeds.n <> coalesce(made.n, 0) + coalesce(dropped.n, 0) ORDER BY 1"
    )

    @dg.asset_check(
        asset=table_key(rephrased(strategy.name)),
        name=DOCUMENTS_ADD_UP,
        blocking=True,
        description="Every candidate of a file is a row or a named drop.",
    )
    def check(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        return _by_file(lake.query(sql, [strategy.name])["curator_file"].to_pylist(), "files that do not add up")

    return check


def _truncation(strategy: Strategy) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=table_key(rephrased(strategy.name)),
        name="few_answers_are_truncated",
        description=f"At most {MAX_TRUNCATED_SHARE:.0%} of this strategy's answers were cut by max_tokens.",
    )
    def check(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        row = (
            lake.query(
                "SELECT count(*) FILTER (finish_reason = 'length') AS cut, count(*) AS n "
                "FROM ledger.completions WHERE strategy = ?",
                [strategy.name],
            ).to_pylist()[0]
            if lake.has_table("ledger.completions")
            else {"cut": 0, "n": 0}
        )
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
        return _by_file(lake.query(sql)["curator_file"].to_pylist(), "files with rows without structure")

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
