"""How large the report is and how soon a browser has opened it, over a lake of many texts.

Rows go straight into the tables, made up in SQL: the report reads nothing else. The page is opened in a headless
Chromium, which is asked over its debugging protocol when the `load` event was over and when the last chart was drawn.
The clock starts with the navigation, so the browser's own start does not count.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import duckdb
import pyarrow as pa
from websockets.sync.client import ClientConnection, connect
from workbench.project import Figure, report
from workbench.prose import WORDS

from resources.lake import Lake
from resources.ledger import COMPLETIONS, COMPLETIONS_SCHEMA
from synth_assets.core.bill_tables import ESTIMATES, USAGE, WASTE
from synth_assets.core.quality_tables import NEAR_DUPLICATES, TEXT_QUALITY
from synth_assets.core.tables import (
    BASELINE,
    COST,
    CURATED_DOCUMENTS,
    DROPS,
    JUDGE_SCORES,
    MERGED_DOCUMENTS,
    PERPLEXITY,
    PROFILE,
    QUALITY,
    rephrased,
)
from synth_assets.reporting.page import write_report

STRATEGIES = ("original", "wiki_rephrase", "diverse_qa", "distill", "knowledge_extract", "knowledge_list")
LARGEST_BYTES, LONGEST_SECONDS = 5_000_000, 1.0
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# What a column holds, for document `d` in strategy `s`; any other is a small number, or empty where it is a text.
COLUMNS = {
    "document_id": "md5(d::VARCHAR)",
    "merged_id": "md5(s || d)",
    "request_key": "md5('call' || s || d)",
    "kept_merged_id": "md5('original' || d)",
    "kept_strategy": "'original'",
    "curator_file": "printf('part-%03d.jsonl', d % 100)",
    "title": "'Record ' || d",
    "url": "'https://example.org/' || d",
    "categories": "['Weather', 'Region ' || d % 12]",
    "text": "$text",
    "char_count": "length($text)",
    "strategy": "s",
    "model": "'SmolLM2-135M-Instruct'",
    "model_revision": "'9f31c0d2'",
    "reference_model": "'openai-community/gpt2'",
    "judge_model": "'Qwen3-8B'",
    "hardware": "'4xH100-SXM'",
    "strategy_fingerprint": "md5(s)",
    "is_duplicate": "d % 17 = 3",
    "is_candidate": "d % 11 <> 5",
    "perplexity": "exp(2.5 + (hash(d, s) % 1000) / 700)",
    "stage": "'rephrase'",
    "reason": "['too_short', 'truncated', 'invalid_schema'][1 + d % 3]",
    "detail": "'38 tokens, 50 are the least'",
    "kind": "['cut', 'dropped', 'superseded'][1 + d % 3]",
    "concurrency": "4 ** d",
    "answers_before": "20 * d",
    "relative_error": "0.5 / (1 + d)",
    "created_at": "TIMESTAMP '2026-03-01' + INTERVAL (d) SECOND",
    "started_at": "TIMESTAMP '2026-03-01' + INTERVAL (d) MINUTE",
    **dict.fromkeys(("coherence", "faithfulness", "information_density"), "1.0 + hash(s, d) % 5"),
}


def rows(schema: pa.Schema, documents: int, strategies: tuple[str, ...]) -> pa.Table:
    """A row for each document and strategy."""
    different = sorted(set(WORDS))
    words, count = ", ".join(f"'{word}'" for word in different), len(different)
    text = f"array_to_string([[{words}][1 + (hash(i, d, s) % {count})::INT] FOR i IN range(60 + d % 200)], ' ')"
    expressions = {field.name: _expression(field) for field in schema}
    chosen = ", ".join(f"{made.replace('$text', text)} AS {name}" for name, made in expressions.items() if made)
    names = ", ".join(f"('{name}')" for name in strategies)
    query = f"SELECT {chosen} FROM range({documents}) AS numbers(d), (VALUES {names}) AS names(s)"
    with duckdb.connect() as connection:
        found = connection.execute(query).to_arrow_table()
    columns = {
        field.name: found[field.name].cast(field.type)
        if expressions[field.name]
        else pa.nulls(found.num_rows, field.type)
        for field in schema
    }
    return pa.table(columns, schema=schema)


def _expression(field: pa.Field) -> str:
    """Empty for a column that stays so."""
    if field.name in COLUMNS:
        return COLUMNS[field.name]
    if pa.types.is_boolean(field.type):
        return "true"
    if pa.types.is_floating(field.type):
        return f"(hash(d, s, '{field.name}') % 1000) / 1000"
    return f"1 + hash(d, s, '{field.name}') % 500" if pa.types.is_integer(field.type) else ""


def fill(lake: Lake, texts: int) -> None:
    """Every table that the report reads."""
    documents = texts // len(STRATEGIES)
    made = STRATEGIES[1:]
    lake.append(CURATED_DOCUMENTS.name, rows(CURATED_DOCUMENTS.schema, documents, ("",)))
    for spec in (MERGED_DOCUMENTS, PERPLEXITY, JUDGE_SCORES, TEXT_QUALITY):
        lake.append(spec.name, rows(spec.schema, documents, STRATEGIES))
    lake.append(COMPLETIONS, rows(COMPLETIONS_SCHEMA, documents, made))
    for name in made:
        lake.append(rephrased(name).name, rows(rephrased(name).schema, documents, (name,)))
    lake.append(NEAR_DUPLICATES.name, rows(NEAR_DUPLICATES.schema, documents // 50, made))
    lake.append(DROPS.name, rows(DROPS.schema, documents // 20, made))
    lake.append(QUALITY.name, rows(QUALITY.schema, 1, STRATEGIES))
    lake.append(COST.name, rows(COST.schema, 1, (*made, "judge", "total")))
    lake.append(WASTE.name, rows(WASTE.schema, 9, made))
    lake.append(ESTIMATES.name, rows(ESTIMATES.schema, 6, made))
    lake.append(USAGE.name, rows(USAGE.schema, 200, ("",)))
    lake.append(BASELINE.name, rows(BASELINE.schema, 4, ("",)))
    profile = rows(PROFILE.schema.remove(PROFILE.schema.get_field_index("categories")), 100, ("",)).to_pylist()
    counted = [{"category": f"Region {number}", "document_count": 100 - number} for number in range(40)]
    profile.append({**profile[0], "curator_file": None, "document_count": documents, "categories": counted})
    lake.append(PROFILE.name, pa.Table.from_pylist(profile, schema=PROFILE.schema))


@contextmanager
def browser(folder: Path) -> Iterator[ClientConnection]:
    """A headless Chromium with one empty page, to talk to."""
    flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --remote-debugging-port=0"
    command = [str(CHROMIUM), *flags.split(), f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        port_file = folder / "DevToolsActivePort"
        while not port_file.exists() or not port_file.read_text().strip():
            time.sleep(0.05)
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            pages = json.load(answer)
        address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        with connect(address, max_size=None, proxy=None) as connection:
            yield connection
    finally:
        process.terminate()
        process.wait()


def ask(connection: ClientConnection, method: str, **parameters: Any) -> dict[str, Any]:
    """One command of the debugging protocol, and its result; events in between are passed over."""
    connection.send(json.dumps({"id": 1, "method": method, "params": parameters}))
    while True:
        answer = json.loads(connection.recv(timeout=60))
        if answer.get("id") == 1:
            return answer["result"]


def opening_seconds(connection: ClientConnection, page: Path) -> tuple[float, float]:
    """Seconds from the navigation to the end of the load event, and to the last chart drawn."""
    ask(connection, "Page.navigate", url=page.as_uri())
    look = (
        "JSON.stringify([performance.getEntriesByType('navigation')[0]?.loadEventEnd ?? 0, performance.now(),"
        " document.querySelectorAll('.chart:not(.drawn)').length, location.protocol])"
    )
    while True:
        loaded, now, undrawn, protocol = json.loads(
            ask(connection, "Runtime.evaluate", expression=look)["result"]["value"]
        )
        if protocol == "file:" and loaded and not undrawn:
            return loaded / 1000, now / 1000
        time.sleep(0.01)


@click.command()
@click.option("--texts", default=100_000, show_default=True, help="Rows of merged.documents.")
@click.option("--turns", default=5, show_default=True, help="Times the page is opened.")
def main(texts: int, turns: int) -> None:
    """Write the report over that many texts and open it."""
    if CHROMIUM is None:
        raise SystemExit("No Chromium is installed.")
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(f"sqlite:{folder}/catalog.sqlite", f"{folder}/data")
        fill(lake, texts)
        started = time.perf_counter()
        page = write_report(lake, Path(folder), "4xH100-SXM", {})
        written = time.perf_counter() - started
        with browser(Path(folder) / "chromium") as connection:
            times = [opening_seconds(connection, page) for _ in range(turns)]
        size = page.stat().st_size
        loaded, drawn = (statistics.median(values) for values in zip(*times, strict=True))
    what = f"the report over {texts:,} texts"
    note = f"median of {turns} turns in a headless Chromium"
    report(
        [
            Figure(f"{what}: size", f"{size / 1e6:.2f} MB", "5 MB", size / LARGEST_BYTES, "at most 1",
                   size <= LARGEST_BYTES),
            Figure(f"{what}: opened", f"{loaded:.2f} s", "1 s", loaded / LONGEST_SECONDS, "at most 1",
                   loaded <= LONGEST_SECONDS, f"to the end of the load event, {note}"),
            Figure(f"{what}: every chart drawn", f"{drawn:.2f} s", "-", None, "stated", None, note),
            Figure(f"{what}: written", f"{written:.1f} s", "-", None, "stated", None, "queries, charts and page"),
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
