"""Damage and rubbish for hypothesis: changed and cut files, any JSON, and how many of them a test takes."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

fuzzed = settings(max_examples=25, deadline=None, derandomize=True, database=None)
thoroughly_fuzzed = settings(fuzzed, max_examples=1000)

edits = st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=5)


@st.composite
def damaged(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of the originals with up to five bytes changed, and often cut."""
    content = bytearray(draw(st.sampled_from(originals)))
    for place, value in draw(edits):
        content[place % len(content)] = value
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


any_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.just("a.png"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["file_name", "labels", "age"]), inner, max_size=3)
    ),
    max_leaves=8,
)
