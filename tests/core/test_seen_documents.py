from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.seen_documents import DIGEST_BYTES, SeenDocuments

# Few different halves, so that digests which share one half and differ in the other are common.
halves = st.sampled_from([bytes(8), b"\xff" * 8, b"abcdefgh", b"abcdefgi"])
digests = st.builds(lambda first, last: first + last, halves, halves)


@given(st.lists(st.lists(digests, max_size=12), max_size=12))
def test_a_digest_is_seen_from_its_second_time_on_whatever_the_chunks(chunks: list[list[bytes]]) -> None:
    seen = SeenDocuments()
    before: set[bytes] = set()
    for chunk in chunks:
        expected = []
        for digest in chunk:
            expected.append(digest in before)
            before.add(digest)
        assert seen.add(chunk) == expected
        assert len(seen) == len(before)


def test_what_is_kept_of_many_documents_is_their_digests_alone() -> None:
    seen = SeenDocuments()
    count = 50_000
    for start in range(0, count, 1000):
        chunk = [number.to_bytes(DIGEST_BYTES, "big") for number in range(start, start + 1000)]
        assert not any(seen.add(chunk))
        assert all(seen.add(chunk))
    assert sum(run.nbytes for run in seen._runs) == count * DIGEST_BYTES
    assert len(seen._runs) < 20
