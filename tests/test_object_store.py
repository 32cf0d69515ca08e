"""Curator outputs in an object store: a real S3 server in the test, from listing to whole runs and the sensor."""

from __future__ import annotations

import gzip
import io
import json
import os
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem

from resources.errors import SynthError
from synth_assets.core.curator_files import CuratorFolderError
from synth_assets.core.documents import CuratorDocument, CuratorFileError, read_curator_file
from synth_assets.curator_folder import CuratorFolder
from synth_assets.definitions import project_defs
from synth_assets.object_store import ObjectStore

ADDRESS = "s3://corpus/curated"


@dataclass
class Bucket:
    """A bucket of its own on the server, seen from the writer's side."""

    server: ThreadedMotoServer
    filesystem: S3FileSystem
    endpoint: str

    def put(self, name: str, content: bytes) -> None:
        with self.filesystem.open_output_stream(f"corpus/curated/{name}", compression=None) as stream:
            stream.write(content)

    def ask_for_credentials_after(self, request_count: bytes) -> None:
        header = {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/moto-api/reset-auth", request_count, header))

    def delete(self, name: str) -> None:
        self.filesystem.delete_file(f"corpus/curated/{name}")


@pytest.fixture
def bucket(monkeypatch) -> Iterator[Bucket]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "writer")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-key")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    filesystem = S3FileSystem(
        endpoint_override=f"{host}:{port}", scheme="http", region="us-east-1", allow_bucket_creation=True
    )
    filesystem.create_dir("corpus")
    yield Bucket(server, filesystem, endpoint)
    # The server's state is the process's: without a reset the next test would find this bucket.
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST"))
    server.stop()


def lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), buffer)
    return buffer.getvalue()


def settle() -> None:
    """Wait until what was just written is older than the second in which a store cannot tell two writes apart."""
    deadline = time.time() + 2.1
    while time.time() < deadline:
        time.sleep(0.05)


# Listing and reading


def test_objects_are_found_under_the_prefix_by_the_rules_for_a_folder(bucket):
    for name in ("b.jsonl", "sub/deep/c.parquet", "sub/a.jsonl.gz", "_temporary/0/x.jsonl", "sub/.hidden.jsonl",
                 "a.tmp.jsonl", "_SUCCESS", "notes.txt", "2024 x/ü.jsonl"):  # fmt: skip
        bucket.put(name, b"x")
    with bucket.filesystem.open_output_stream("corpus/curated-other/no.jsonl") as stream:
        stream.write(b"x")
    found = ObjectStore(ADDRESS + "/").files()
    assert list(found) == ["2024 x/ü.jsonl", "b.jsonl", "sub/a.jsonl.gz", "sub/deep/c.parquet"]
    assert str(found["b.jsonl"].source) == "s3://corpus/curated/b.jsonl"
    assert found["b.jsonl"].size_bytes == 1
    assert abs(found["b.jsonl"].modified_ns / 1e9 - time.time()) < 60


def test_a_whole_bucket_can_be_the_folder(bucket):
    bucket.put("a.jsonl", b"x")
    assert list(ObjectStore("s3://corpus").files()) == ["curated/a.jsonl"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_an_object_reads_and_hashes_as_the_same_local_file_does(bucket, tmp_path, make_article, name):
    rows = [make_article(number) for number in range(300)]
    content = parquet(rows) if name.endswith("parquet") else lines(rows)
    content = gzip.compress(content) if name.endswith("gz") else content
    bucket.put(name, content)
    (tmp_path / name).write_bytes(content)
    here, there = CuratorFolder(tmp_path), CuratorFolder(ADDRESS)
    assert there.versions() == here.versions()
    documents = list(read_curator_file(there.file(name).source, name))
    assert documents == list(read_curator_file(here.file(name).source, name))
    assert sum(isinstance(document, CuratorDocument) for document in documents) == 300


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_an_empty_object_has_no_rows(bucket, name):
    bucket.put(name, b"")
    assert list(read_curator_file(CuratorFolder(ADDRESS).file(name).source, name)) == []


def test_a_look_at_one_object_says_what_the_listing_says_and_none_when_it_is_gone(bucket):
    bucket.put("a.jsonl", b"x")
    store = ObjectStore(ADDRESS)
    assert store.find("a.jsonl") == store.files()["a.jsonl"]
    bucket.delete("a.jsonl")
    assert store.find("a.jsonl") is None


def test_known_hashes_are_kept_for_the_next_process_and_not_for_another_bucket(bucket, tmp_path, monkeypatch):
    bucket.put("a.jsonl", b"one\n")
    settle()
    cache = tmp_path / "curator_files.json"
    first = CuratorFolder(ADDRESS, cache)
    versions = first.versions()
    first.save_cache()
    assert "the-secret-key" not in cache.read_text()
    monkeypatch.setattr("synth_assets.curator_folder.content_fingerprint", lambda source: "read again")
    assert CuratorFolder(ADDRESS, cache).versions() == versions
    assert CuratorFolder("s3://corpus", cache).versions() == {"curated/a.jsonl": "read again"}


def test_an_object_that_is_replaced_within_the_second_is_noticed(bucket):
    folder = CuratorFolder(ADDRESS)
    bucket.put("a.jsonl", b"one\n")
    before = folder.versions()
    bucket.put("a.jsonl", b"two\n")
    assert folder.versions() != before


# What can be wrong


def refusal(address: str) -> str:
    with pytest.raises(CuratorFolderError) as caught:
        ObjectStore(address).files()
    text = str(caught.value)
    assert address in text
    assert "CURATOR_OUTPUT_DIR" in text
    assert caught.value.remedy
    assert "the-secret-key" not in text
    assert "Request ID" not in text
    return text


def test_a_missing_bucket_is_named(bucket):
    assert "no such bucket" in refusal("s3://nowhere/curated")


def test_a_prefix_with_nothing_under_it_is_refused(bucket):
    bucket.put("a.jsonl", b"x")
    assert "nothing lies under it" in refusal("s3://corpus/curatd")


def test_a_store_that_does_not_answer_is_named_with_the_setting_of_its_address(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    text = refusal(ADDRESS)
    assert "cannot be reached" in text
    assert "AWS_ENDPOINT_URL_S3" in text


def test_refused_credentials_name_the_variables_to_check(bucket):
    bucket.put("a.jsonl", b"x")
    bucket.ask_for_credentials_after(b"0")
    try:
        assert "AWS_ACCESS_KEY_ID" in refusal(ADDRESS)
    finally:
        bucket.ask_for_credentials_after(b"inf")


def test_a_store_that_goes_away_while_an_object_is_read_is_no_damaged_file(bucket):
    bucket.put("a.parquet", parquet([{"text": os.urandom(500).hex()} for _ in range(15_000)]))
    source = CuratorFolder(ADDRESS).file("a.parquet").source
    rows = read_curator_file(source, "a.parquet")
    next(rows)
    bucket.delete("a.parquet")
    with pytest.raises(CuratorFileError, match=r"cannot be read|is gone") as caught:
        list(rows)
    assert "no whole Parquet" not in str(caught.value)


# Whole runs


def test_runs_over_a_bucket_send_what_runs_over_a_folder_send(bucket, workplace, make_article):
    bucket.put("a.jsonl", lines([make_article(1), make_article(2)]))
    bucket.put("sub/b.jsonl.gz", gzip.compress(lines([make_article(3)])))
    bucket.put("sub/deep/c.parquet", parquet([make_article(4), make_article(5)]))
    workplace.environment["CURATOR_OUTPUT_DIR"] = ADDRESS

    def rows() -> list[tuple[str, int]]:
        found = workplace.rows("SELECT curator_file, count(*) n FROM rephrased.distill GROUP BY 1 ORDER BY 1")
        return [(row["curator_file"], row["n"]) for row in found]

    summary, _ = workplace.run(strategies=["distill"])
    assert summary.failed == []
    assert rows() == [("a.jsonl", 2), ("sub/b.jsonl.gz", 1), ("sub/deep/c.parquet", 2)]

    before = workplace.server.request_count
    summary, _ = workplace.run(strategies=["distill"])
    assert (summary.materialized, workplace.server.request_count) == ([], before)

    workplace.environment["CURATOR_OUTPUT_DIR"] = "s3://corpus/curatd"
    with pytest.raises(CuratorFolderError):
        workplace.run(strategies=["distill"])
    assert len(rows()) == 3

    workplace.environment["CURATOR_OUTPUT_DIR"] = ADDRESS
    bucket.put("a.jsonl", lines([make_article(1), make_article(6)]))
    bucket.delete("sub/b.jsonl.gz")
    summary, project = workplace.run(strategies=["distill"])
    assert (summary.files.changed, summary.files.deleted) == (("a.jsonl",), ("sub/b.jsonl.gz",))
    assert project.purchases.rephrase.report.requests_sent == 1
    assert rows() == [("a.jsonl", 2), ("sub/deep/c.parquet", 2)]


def test_an_object_that_changes_while_it_is_read_fails_its_file_and_the_next_run_takes_it(
    bucket, workplace, make_article, monkeypatch
):
    bucket.put("a.jsonl", lines([make_article(1)]))
    workplace.environment["CURATOR_OUTPUT_DIR"] = ADDRESS

    def read_while_replaced(source, curator_file):
        yield from read_curator_file(source, curator_file)
        bucket.put("a.jsonl", lines([make_article(2)]))

    with monkeypatch.context() as patched:
        patched.setattr("synth_assets.assets.seed.read_curator_file", read_while_replaced)
        summary, _ = workplace.run(strategies=["distill"])
    assert "changed while it was read" in summary.errors[0]
    assert "s3://corpus/curated/a.jsonl" in summary.errors[0]
    summary, _ = workplace.run(strategies=["distill"])
    assert summary.failed == []
    assert workplace.rows("SELECT count(*) n FROM rephrased.distill")[0]["n"] == 1


# The sensor


def test_the_sensor_asks_for_one_run_of_many_objects_and_reads_none_of_them(bucket, workplace, monkeypatch):
    for number in range(5):
        bucket.put(f"sub/{number}.jsonl", b'{"text": "no line break at the end"}')
    settle()
    workplace.environment["CURATOR_OUTPUT_DIR"] = ADDRESS
    sensor = next(s for s in project_defs(workplace.project()).sensors or [] if s.name == "curator_outputs")
    monkeypatch.setattr("synth_assets.object_store.StoredObject.open", None)

    def tick(cursor: str | None) -> dg.SensorResult:
        with dg.build_sensor_context(instance=workplace.instance, cursor=cursor) as context:
            return sensor(context)

    first = tick(None)
    [request] = first.run_requests or []
    assert request.tags["synth/changed_files"] == "5"
    assert not tick(first.cursor).run_requests
    bucket.delete("sub/0.jsonl")
    bucket.put("sub/1.jsonl", b"longer than it was before, and written just now, which waits for two seconds")
    gone = tick(first.cursor)
    assert [request.tags["synth/changed_files"] for request in gone.run_requests or []] == ["1"]
    settle()
    assert [request.tags["synth/changed_files"] for request in tick(gone.cursor).run_requests or []] == ["1"]


def test_a_file_that_is_gone_is_refused_by_its_address(bucket):
    with pytest.raises(SynthError, match=r"s3://corpus/curated/gone\.jsonl is gone"):
        CuratorFolder(ADDRESS).file("gone.jsonl")
