import functools
import importlib.util
import re
import sys
import textwrap
from itertools import count

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.inference import ChatMessage, SamplingParams
from synth_assets.core.fingerprints import MultisetHash, code_fingerprint, request_key

# Timings say nothing on a shared machine.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ROWS = st.dictionaries(st.sampled_from("abc"), VALUES, min_size=1)


def hash_of(rows):
    found = MultisetHash()
    for row in rows:
        found.add(row)
    return found.hexdigest()


# --- rows


@untimed
@given(st.lists(ROWS, max_size=6).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_the_order_of_rows_does_not_matter(pair):
    rows, shuffled = pair
    assert hash_of(rows) == hash_of(shuffled)


@untimed
@given(st.lists(ROWS, max_size=5), ROWS)
def test_one_row_more_changes_the_hash_even_when_it_is_there_already(rows, extra):
    hashes = [hash_of(rows), hash_of([*rows, extra]), hash_of([*rows, extra, extra])]
    assert len(set(hashes)) == 3


def exact(value):
    """The value with its types, so that 1, 1.0, True and "1" differ, and -0.0 from 0.0."""
    if isinstance(value, dict):
        return ("dict", tuple(sorted((key, exact(part)) for key, part in value.items())))
    if isinstance(value, list):
        return ("list", tuple(exact(part) for part in value))
    return (type(value).__name__, repr(value))


@untimed
@given(ROWS, ROWS)
def test_different_rows_have_different_hashes(one, other):
    assert (hash_of([one]) == hash_of([other])) == (exact(one) == exact(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": 1}, {"a": True}),
        ({"a": None}, {"a": ""}),
        ({"a": None}, {"a": "null"}),
        ({"a": None}, {}),
        ({"a": "x", "b": "y"}, {"a": "xy", "b": ""}),
        ({"a": "x", "b": "y"}, {"a": "y", "b": "x"}),
        ({"a": ["x", "y"]}, {"a": ["x,y"]}),
        ({"a": [["x"], []]}, {"a": [[], ["x"]]}),
        ({"a": "x"}, {"b": "x"}),
        ({"a": "é"}, {"a": "e\u0301"}),
    ],
)
def test_look_alike_rows_are_told_apart(one, other):
    assert hash_of([one]) != hash_of([other])


def test_columns_may_come_in_any_order():
    assert hash_of([{"a": 1, "b": 2}]) == hash_of([{"b": 2, "a": 1}])


@untimed
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "text": st.none() | st.text(),
                "n": st.none() | st.integers(-(2**63), 2**63 - 1),
                "x": st.none() | st.floats(),
                "tags": st.none() | st.lists(st.none() | st.text(), max_size=3),
            }
        ),
        max_size=6,
    ),
    st.integers(1, 3),
)
def test_a_table_hashes_as_its_rows_however_it_is_chunked(rows, chunk):
    kinds = {"text": pa.string(), "n": pa.int64(), "x": pa.float64(), "tags": pa.list_(pa.string())}
    schema = pa.schema(list(kinds.items()))
    parts = [pa.Table.from_pylist(rows[i : i + chunk], schema) for i in range(0, len(rows), chunk)]
    table = pa.concat_tables(parts) if parts else schema.empty_table()
    from_table, from_batches = MultisetHash(), MultisetHash()
    from_table.add_table(table, ["x", "text", "n", "tags"])
    for batch in table.to_batches():
        from_batches.add_table(batch, list(kinds))
    assert from_table.hexdigest() == from_batches.hexdigest() == hash_of(rows)


def test_only_the_named_columns_count():
    one = pa.table({"kept": ["x"], "ignored": [1]})
    other = pa.table({"kept": ["x"], "ignored": [2]})
    hashes = []
    for table in (one, other):
        found = MultisetHash()
        found.add_table(table, ["kept"])
        hashes.append(found.hexdigest())
    assert hashes[0] == hashes[1]
    with pytest.raises(KeyError):
        MultisetHash().add_table(one, ["missing"])


@untimed
@given(st.lists(ROWS, max_size=4), st.lists(ROWS, max_size=4))
def test_hashes_of_parts_add_up_to_the_hash_of_the_whole(left, right):
    total = MultisetHash()
    for part in (left, right):
        piece = MultisetHash()
        for row in part:
            piece.add(row)
        total.update(piece)
    assert total.hexdigest() == hash_of([*left, *right])
    assert total.row_count == len(left) + len(right)


def test_a_value_that_has_no_canonical_form_is_refused():
    with pytest.raises(TypeError):
        MultisetHash().add({"a": b"bytes"})


def test_the_hash_is_the_same_on_every_machine_and_day():
    """A literal: if this changes, every asset of every user becomes stale."""
    assert hash_of([{"a": "é", "b": [1, None, 0.5]}, {"a": "x", "b": []}]) == "444ebfdbd257accd534b13f88bca727c"


# --- request keys

BASE_CALL = {
    "messages": (ChatMessage("system", "Rephrase."), ChatMessage("user", "Text")),
    "response_schema": None,
    "sampling": SamplingParams(0.5, 0.9, 512),
    "model_name": "model",
    "model_revision": "abc",
    "generation": 0,
}


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (ChatMessage("system", "Rephrase."), ChatMessage("user", "Text."))},
        {"messages": (ChatMessage("user", "Rephrase."), ChatMessage("user", "Text"))},
        {"messages": (ChatMessage("user", "Text"), ChatMessage("system", "Rephrase."))},
        {"messages": (ChatMessage("system", "Rephrase.Text"),)},
        {"response_schema": "{}"},
        {"response_schema": ""},
        {"sampling": SamplingParams(0.6, 0.9, 512)},
        {"sampling": SamplingParams(0.9, 0.5, 512)},
        {"sampling": SamplingParams(0.5, 0.9, 513)},
        {"model_name": "model2"},
        {"model_name": "modela", "model_revision": "bc"},
        {"model_revision": ""},
        {"generation": 1},
    ],
)
def test_whatever_the_answer_depends_on_is_in_the_key(change):
    assert request_key(**{**BASE_CALL, **change}) != request_key(**BASE_CALL)


def test_a_key_is_stable_and_does_not_depend_on_how_equal_values_are_written():
    assert request_key(**BASE_CALL) == "59bebbe5f4705f7d265536e4222e9a85"
    written_otherwise = {**BASE_CALL, "messages": list(BASE_CALL["messages"])}
    assert request_key(**written_otherwise) == request_key(**BASE_CALL)
    cold = [{**BASE_CALL, "sampling": SamplingParams(zero, 1, 10)} for zero in (0, 0.0)]
    assert request_key(**cold[0]) == request_key(**cold[1])


@untimed
@given(st.lists(st.tuples(st.sampled_from(["system", "user"]), st.text(max_size=5)), max_size=3), st.data())
def test_keys_of_different_messages_differ(pairs, data):
    others = data.draw(st.lists(st.tuples(st.sampled_from(["system", "user"]), st.text(max_size=5)), max_size=3))
    keys = [
        request_key(**{**BASE_CALL, "messages": [ChatMessage(role, text) for role, text in some]})
        for some in (pairs, others)
    ]
    assert (keys[0] == keys[1]) == (pairs == others)


# --- code

_serial = count()


@pytest.fixture
def make_module(tmp_path, monkeypatch):
    """Imports source text under a name that is always the same, from a file of its own."""

    def make(source, name="rulebook"):
        path = tmp_path / f"{name.replace('.', '_')}_{next(_serial)}.py"
        path.write_text(textwrap.dedent(source))
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return make


PLAIN = """
LIMIT = 3
OTHER = 4

def helper(text):
    return text[:LIMIT]

def rule(text: str) -> str:
    return helper(text).strip()

class Base:
    factor = 2

class Rules(Base):
    def apply(self, text):
        return text * self.factor

def cap(limit):
    def apply(text):
        return text[:limit]
    return apply

shout = lambda text: text.upper()
"""

DECORATED = '''
"""A module docstring."""
import os  # not used

LIMIT = 3  # characters
"""An attribute docstring."""
OTHER = 4


def helper(text):
    """Cut it."""

    return text[ : LIMIT ]


def rule(text: "object") -> "object":
    """Say it
    at length."""
    # a comment
    return (
        helper(text)
        .strip()
    )


class Base:
    """A base."""
    factor = 2
class Rules(Base):
    """Some rules."""

    def apply(self, text):
        "Applies."
        return text * self.factor


def cap(limit):
    "A factory."
    def apply(text):
        "What it makes."
        return text[:limit]
    return apply


shout = lambda text: (text
    .upper())
'''


def parts(module):
    return {
        "rule": module.rule,
        "class": module.Rules,
        "closure": module.cap(3),
        "lambda": module.shout,
        "partial": functools.partial(module.helper, text="x"),
    }


@pytest.mark.parametrize("part", ["rule", "class", "closure", "lambda", "partial"])
def test_comments_docstrings_annotations_and_formatting_do_not_count(make_module, part):
    before = code_fingerprint(parts(make_module(PLAIN))[part])
    assert code_fingerprint(parts(make_module(DECORATED))[part]) == before


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("LIMIT = 3", "LIMIT = 5", {"rule", "partial"}),
        ("OTHER = 4", "OTHER = 5", set()),
        ("return text[:LIMIT]", "return text[1:LIMIT]", {"rule", "partial"}),
        (".strip()", ".lstrip()", {"rule"}),
        ("factor = 2", "factor = 3", {"class"}),
        ("text * self", "2 * text * self", {"class"}),
        ("text[:limit]", "text[limit:]", {"closure"}),
        ("text.upper()", "text.lower()", {"lambda"}),
    ],
)
def test_a_change_reaches_what_uses_it_and_nothing_else(make_module, old, new, changed):
    before = {name: code_fingerprint(part) for name, part in parts(make_module(PLAIN)).items()}
    after = {name: code_fingerprint(part) for name, part in parts(make_module(PLAIN.replace(old, new))).items()}
    assert {name for name in before if before[name] != after[name]} == changed


def test_a_module_counts_as_a_whole_but_for_its_prose(make_module):
    before = code_fingerprint(make_module(PLAIN))
    assert code_fingerprint(make_module(PLAIN.replace("OTHER = 4", "OTHER = 5"))) != before
    assert code_fingerprint(make_module("# a remark\n" + PLAIN)) == before


def test_what_a_closure_captured_and_a_partial_was_given_counts(make_module):
    module = make_module(PLAIN)
    assert code_fingerprint(module.cap(3)) != code_fingerprint(module.cap(4))
    three, four = (functools.partial(module.helper, text=text) for text in "ab")
    assert code_fingerprint(three) != code_fingerprint(four)


def test_a_captured_value_without_a_canonical_form_is_refused(make_module):
    with pytest.raises(TypeError, match="no source to fingerprint"):
        code_fingerprint(make_module(PLAIN).cap(object()))


def test_names_are_followed_into_other_modules_of_the_package(make_module):
    def fingerprints(pattern, size):
        make_module("", name="pack").__path__ = []
        pack_patterns = make_module(
            f"import re\nHEADING = re.compile({pattern!r})\nSIZE = {size}", name="pack.patterns"
        )
        sys.modules["pack"].patterns = pack_patterns
        rules = make_module(
            """
            from pack import patterns
            from pack.patterns import HEADING as PATTERN

            def by_name(text):
                return PATTERN.sub("", text)

            def by_module(text):
                return text[: patterns.SIZE]
            """,
            name="pack.rules",
        )
        return code_fingerprint(rules.by_name), code_fingerprint(rules.by_module)

    first = fingerprints("^#+", 3)
    other_pattern = fingerprints("^=+", 3)
    other_size = fingerprints("^#+", 4)
    assert other_pattern[0] != first[0]
    assert other_pattern[1] == first[1]
    assert other_size[0] == first[0]
    assert other_size[1] != first[1]


def test_a_cycle_of_functions_ends(make_module):
    module = make_module("def even(n):\n    return n == 0 or odd(n - 1)\n\ndef odd(n):\n    return n and even(n - 1)\n")
    assert code_fingerprint(module.even) != code_fingerprint(module.odd)


def test_the_order_of_rules_counts(make_module):
    module = make_module(PLAIN)
    assert code_fingerprint(module.rule, module.helper) != code_fingerprint(module.helper, module.rule)


def test_plain_values_patterns_and_builtins_can_be_part_of_it():
    values = [
        "x",
        1,
        True,
        None,
        re.compile("a"),
        re.compile("a", re.I),
        ("x",),
        ["x"],
        {"x": 1},
        str.strip,
        len,
    ]
    assert len({code_fingerprint(value) for value in values}) == len(values)


def test_code_of_this_project_can_be_fingerprinted():
    assert re.fullmatch("[0-9a-f]{32}", code_fingerprint(MultisetHash, request_key, code_fingerprint))
