"""Which files have rows that share what should be unique, in memory that does not grow with the table.

In: finding them. Out: the check that says so (`checks`), and what follows from it (`check_outcomes`).
"""

from collections.abc import Sequence

from resources.lake import Lake

ROWS_AT_ONCE = 250_000
"""Hashes are grouped for so many rows at a time; grouping two million ids as text at once took 230 MB."""

MOST_PASSES = 64
"""Each pass reads the columns again; beyond this many, memory grows instead of time."""


def files_with_shared_rows(lake: Lake, table: str, columns: Sequence[str]) -> list[str]:
    """Files with rows that have the same values of `columns` as another row of the table, in order.

    LakeError where the table is not there.
    """
    names = ", ".join(columns)
    row_count = lake.query(f"SELECT count(*) AS n FROM {table}")["n"][0].as_py()  # noqa: S608
    passes = max(1, min(MOST_PASSES, -(-row_count // ROWS_AT_ONCE)))
    twice = (
        f"SELECT hash({names}) AS hashed FROM {table} WHERE hash({names}) % ? = ? "  # noqa: S608
        "GROUP BY 1 HAVING count(*) > 1"
    )
    # Different values may have one hash, so these are looked at themselves.
    shared = (
        f"SELECT DISTINCT curator_file FROM {table} WHERE ({names}) IN ("  # noqa: S608
        f"SELECT ({names}) FROM {table} WHERE hash({names}) IN ({twice}) GROUP BY {names} HAVING count(*) > 1)"
    )
    files: set[str] = set()
    for number in range(passes):
        if lake.query(f"SELECT count(*) AS n FROM ({twice})", [passes, number])["n"][0].as_py():  # noqa: S608
            files.update(lake.query(shared, [passes, number])["curator_file"].to_pylist())
    return sorted(files)
