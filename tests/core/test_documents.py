import gzip
import io
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.errors import SynthError
from synth_assets.core import documents
from synth_assets.core.documents import (
    CuratorDocument,
    CuratorFileError,
    UnreadableRow,
    content_fingerprint,
    document_id,
    read_curator_file,
)

ROW = {
    "text": "Coral reefs are built by polyps.\n",
    "title": "Coral reef",
    "id": "17",
    "url": "https://en.wikipedia.org/wiki/Coral_reef",
    "language": "en",
    "source_id": "dump.xml.bz2",
    "file_name": "dump.xml.bz2.jsonl",
    "categories": ["Reefs", "Ecosystems"],
}


def read(path):
    return list(read_curator_file(path, path.name))


def read_lines(tmp_path, *lines, name="a.jsonl"):
    path = tmp_path / name
    content = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return read(path)


def refusals(rows):
    return [(row.row_number, row.reason, row.detail) for row in rows if isinstance(row, UnreadableRow)]


@pytest.fixture(params=["a.jsonl", "a.jsonl.gz", "a.parquet"])
def write(request, tmp_path):
    """Writes rows in each of the three formats; returns the path."""

    def write_rows(rows):
        path = tmp_path / request.param
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif path.suffix == ".gz":
            path.write_bytes(gzip.compress(content))
        else:
            path.write_bytes(content)
        return path

    return write_rows


def test_every_format_gives_the_same_documents(write):
    path = write([ROW, {**ROW, "title": "Atoll", "id": None}])
    first, second = read(path)
    assert first == CuratorDocument(
        document_id=document_id("Coral reef", ROW["text"]),
        curator_file=path.name,
        row_number=1,
        source_id="17",
        title="Coral reef",
        text="Coral reefs are built by polyps.\n",
        url=ROW["url"],
        language="en",
        categories=("Reefs", "Ecosystems"),
        file_name="dump.xml.bz2.jsonl",
    )
    assert (second.row_number, second.title, second.source_id) == (2, "Atoll", "dump.xml.bz2")


def test_only_text_is_required(write):
    (row,) = read(write([{"text": "Some text."}]))
    assert (row.title, row.source_id, row.url, row.language, row.categories) == ("", None, None, None, ())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).filter(str.strip))
def test_a_text_is_kept_character_by_character(write, text):
    (row,) = read(write([{"text": text, "title": text}]))
    assert (row.text, row.title) == (text, text)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ("['Ray-finned fish', \"Darwin's finches\"]", ("Ray-finned fish", "Darwin's finches")),
        ('["Fish", null, "Birds"]', ("Fish", "Birds")),
        ("Fish", ("Fish",)),
        ("[sic] erat", ("[sic] erat",)),
        ("[]", ()),
        ("", ()),
        (None, ()),
        ([], ()),
        ([1, "x"], ("1", "x")),
    ],
)
def test_categories_come_as_a_list_or_as_the_text_of_one(tmp_path, stored, expected):
    (row,) = read_lines(tmp_path, {"text": "x", "categories": stored})
    assert row.categories == expected


@pytest.mark.parametrize(
    ("stored", "expected"),
    [(734, "734"), ("0734", "0734"), (float("nan"), "dump"), ("", "dump"), (["a"], '["a"]')],
)
def test_an_id_that_is_no_string_is_kept_as_its_json_text(tmp_path, stored, expected):
    (row,) = read_lines(tmp_path, {"text": "x", "id": stored, "source_id": "dump"})
    assert row.source_id == expected


# --- identity


@given(st.text(), st.text(), st.text(), st.text())
def test_documents_are_the_same_when_title_and_text_are(title, text, other_title, other_text):
    pairs = [
        (a.encode("utf-8", "replace").decode(), b.encode("utf-8", "replace").decode())
        for a, b in ((title, text), (other_title, other_text))
    ]
    assert (document_id(*pairs[0]) == document_id(*pairs[1])) == (pairs[0] == pairs[1])


def test_the_border_between_title_and_text_counts():
    assert document_id("ab", "c") != document_id("a", "bc")


def test_an_identity_never_changes():
    assert document_id("Coral reef", "Reefs are built by polyps.") == "52e9a8d88125e73e27a12803073a1a80"


def test_a_duplicate_id_is_no_error(tmp_path):
    rows = read_lines(tmp_path, {"text": "one", "id": "1"}, {"text": "two", "id": "1"})
    assert [row.source_id for row in rows] == ["1", "1"]
    assert rows[0].document_id != rows[1].document_id


# --- rows that are refused


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b'{"text": "cut', "unreadable_row", "broken JSON"),
        (b'{"text": "\xff"}', "unreadable_row", "invalid UTF-8 at byte 11 of the line (0xff)"),
        (b'["text"]', "unreadable_row", "a JSON list, not an object"),
        (b'"text"', "unreadable_row", "a JSON str, not an object"),
        (b"null", "unreadable_row", "not an object"),
        (b"[" * 100_000, "unreadable_row", "nested too deeply"),
        (b'{"text": "x", "n": ' + b"9" * 5000 + b"}", "unreadable_row", "broken JSON"),
        (b'{"text": "a\\u0000b"}', "unreadable_row", "`text` holds a NUL character at position 2"),
        (b'{"text": "x", "title": "\\u0000"}', "unreadable_row", "`title` holds a NUL"),
        (b'{"text": "x", "categories": ["\\u0000"]}', "unreadable_row", "`categories` holds a NUL"),
        (
            b'{"text": "ab\\ud83d"}',
            "unreadable_row",
            "`text` holds half a surrogate pair (U+D83D) at position 3",
        ),
        (b'{"title": "no text"}', "missing_text", "there is no field `text`"),
        (b'{"text": null}', "missing_text", "`text` is null"),
        (b'{"text": 5}', "missing_text", "`text` is a number, not a string"),
        (b'{"text": true}', "missing_text", "`text` is a boolean, not a string"),
        (b'{"text": ["x"]}', "missing_text", "`text` is an array, not a string"),
        (b'{"text": {"a": 1}}', "missing_text", "`text` is an object, not a string"),
        (b'{"text": ""}', "missing_text", "`text` is empty"),
        (b'{"text": " \\n\\u00a0"}', "missing_text", "`text` has only white space"),
    ],
)
def test_a_bad_line_is_refused_by_name_and_the_rest_goes_on(tmp_path, line, reason, detail):
    rows = read_lines(tmp_path, {"text": "before"}, line, {"text": "after"})
    assert [row.row_number for row in rows] == [1, 2, 3]
    assert [type(row) for row in rows] == [CuratorDocument, UnreadableRow, CuratorDocument]
    assert rows[1].reason == reason
    assert detail in rows[1].detail
    assert rows[1].curator_file == "a.jsonl"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_at_all_give_one_row_for_each_line_that_is_not_blank(tmp_path, lines):
    path = tmp_path / "any.jsonl"
    path.write_bytes(b"\n".join(lines))
    not_blank = [number for number, line in enumerate(io.BytesIO(path.read_bytes()), 1) if line.strip()]
    assert [row.row_number for row in read(path)] == not_blank


def test_blank_lines_are_no_rows_but_count_as_lines(tmp_path):
    rows = read_lines(tmp_path, b"", {"text": "x"}, b" \t\r", {"text": "y"})
    assert [(row.row_number, row.text) for row in rows] == [(2, "x"), (4, "y")]


def test_a_byte_order_mark_at_the_beginning_is_accepted_and_elsewhere_is_not(tmp_path):
    mark = b"\xef\xbb\xbf"
    rows = read_lines(tmp_path, mark + b'{"text": "x"}', mark + b'{"text": "y"}')
    assert rows[0].text == "x"
    assert refusals(rows)[0][:2] == (2, "unreadable_row")


def test_positions_in_a_line_with_a_byte_order_mark_count_the_mark(tmp_path):
    rows = read_lines(tmp_path, b'\xef\xbb\xbf{"text": "\xff"}')
    assert "byte 14 " in rows[0].detail


def test_windows_line_ends_and_a_missing_last_newline_are_fine(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "x"}\r\n{"text": "y"}')
    assert [row.text for row in read(path)] == ["x", "y"]


def test_a_document_of_ten_megabytes_is_read(tmp_path):
    (row,) = read_lines(tmp_path, {"text": "word " * 2_000_000})
    assert len(row.text) == 10_000_000


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_line_over_the_limit_is_refused_and_skipped_to_its_end(tmp_path, monkeypatch, name):
    monkeypatch.setattr(documents, "MAX_LINE_BYTES", 2**21)
    over = {"text": "x" * (2**21 + 2**20)}
    within = {"text": "y" * (2**21 - 20)}
    rows = read_lines(tmp_path, over, within, over, {"text": "after"}, name=name)
    assert refusals(rows) == [(n, "unreadable_row", "the line is longer than 2 MiB") for n in (1, 3)]
    assert [row.row_number for row in rows] == [1, 2, 3, 4]
    assert rows[3].text == "after"


def test_text_of_a_parquet_file_that_is_no_utf8_is_refused_by_row(tmp_path):
    offsets = pa.array([0, 4, 6, 10], pa.int32()).buffers()[1]
    values = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"fine\xff\xfefine"))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": values}), path)
    rows = read(path)
    assert [row.row_number for row in rows] == [1, 2, 3]
    assert refusals(rows)[0][:2] == (2, "unreadable_row")


def test_a_parquet_row_without_text_is_refused_by_row(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x", None, " "]}), path)
    assert [(number, reason) for number, reason, _ in refusals(read(path))] == [
        (2, "missing_text"),
        (3, "missing_text"),
    ]


def test_parquet_rows_are_numbered_across_batches_and_row_groups(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"text {n}" for n in range(1, 301)]}), path, row_group_size=130)
    assert [(row.row_number, row.text) for row in read(path)] == [(n, f"text {n}") for n in range(1, 301)]


# --- files that are at fault


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_an_empty_file_has_no_rows(tmp_path, name):
    (tmp_path / name).touch()
    assert read(tmp_path / name) == []


def test_a_gzip_of_nothing_has_no_rows(tmp_path):
    assert read_lines(tmp_path, name="a.jsonl.gz") == []


def rows_and_error(path):
    rows = []
    with pytest.raises(CuratorFileError) as caught:  # noqa: PT012
        for row in read_curator_file(path, path.name):
            rows.append(row)
    assert path.name in str(caught.value)
    assert caught.value.remedy
    return rows, str(caught.value)


def test_a_truncated_gzip_gives_its_whole_rows_and_then_an_error_that_says_where(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    lines = [json.dumps({"text": os.urandom(500).hex()}) for _ in range(500)]
    packed = gzip.compress("\n".join(lines).encode())
    path.write_bytes(packed[: len(packed) // 2])
    rows, message = rows_and_error(path)
    assert 100 < len(rows) < 300
    assert all(isinstance(row, CuratorDocument) for row in rows)
    assert f"after row {len(rows)}" in message


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl.gz", b'{"text": "plain"}\n', "no whole gzip"),
        ("a.parquet", b'{"text": "plain"}\n', "no whole Parquet"),
        ("a.parquet", b"PAR1", "no whole Parquet"),
        ("a.csv", b"text\nx\n", "ends in none of"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_an_error(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    rows, message = rows_and_error(path)
    assert rows == []
    assert says in message


def test_a_damaged_gzip_is_an_error(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    packed = bytearray(gzip.compress(b'{"text": "x"}\n' * 1000))
    packed[-6] ^= 0xFF
    path.write_bytes(packed)
    assert len(rows_and_error(path)[0]) <= 1000


def test_a_damaged_parquet_page_is_an_error(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [os.urandom(50).hex() for _ in range(2000)]}), path, use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[100:5000] = bytes(4900)
    path.write_bytes(content)
    assert "no whole Parquet" in rows_and_error(path)[1]


def test_a_parquet_file_without_a_text_column_names_the_columns_that_it_has(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": ["x"], "title": ["t"]}), path)
    assert "body, title" in rows_and_error(path)[1]


def test_a_file_that_is_gone_is_an_error(tmp_path):
    assert "is gone" in rows_and_error(tmp_path / "a.jsonl")[1]
    with pytest.raises(CuratorFileError, match="is gone"):
        content_fingerprint(tmp_path / "a.jsonl")


def test_a_folder_with_a_files_name_is_an_error(tmp_path):
    (tmp_path / "a.jsonl").mkdir()
    assert "cannot be read" in rows_and_error(tmp_path / "a.jsonl")[1]


def test_the_error_belongs_to_the_family_that_users_can_act_on():
    assert issubclass(CuratorFileError, SynthError)


def test_the_fingerprint_of_a_file_follows_its_bytes_alone(tmp_path):
    for name, content in {"a": b"x" * 3_000_000, "b": b"x" * 3_000_000, "c": b"x" * 2_999_999 + b"y"}.items():
        (tmp_path / name).write_bytes(content)
    one, same, other = (content_fingerprint(tmp_path / name) for name in "abc")
    assert one == same != other
