"""Bad zips: nothing leads out of one, bombs take no memory, and damage is named or a UsageError."""

from __future__ import annotations

import struct
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fuzzing import damaged, fuzzed, thoroughly_fuzzed
from hypothesis import given
from hypothesis import strategies as st
from small_data import GOOD, SIDE, encoded, flat, opened, picture, zip_bytes, zip_of

from facegan.config import UsageError

HOSTILE_NAMES = ["../x.png", "/abs.png", "a/../../x.png", "../../etc/x.jpg", "a/.."]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_zip_entry_that_leads_out_of_the_zip_is_named(tmp_path: Path, name: str) -> None:
    data = opened(zip_of(zip_bytes({"good.png": GOOD, name: GOOD}), tmp_path))
    assert (data.names, data.skipped) == (["good.png"], {name: "its name leads out of the zip"})


def test_zip_is_never_unpacked_to_the_disk(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "down"
    place.mkdir(parents=True)
    opened(zip_of(zip_bytes(dict.fromkeys(["good.png", *HOSTILE_NAMES], GOOD)), place))
    files = [file.relative_to(place).parts[0] for file in tmp_path.rglob("*") if file.is_file()]
    assert set(files) == {"pictures.zip", "cache"}


@pytest.fixture
def doubled(tmp_path: Path) -> Path:
    """A zip that holds a.png twice: black, then white."""
    content = zip_bytes({"a.png": encoded(flat(0)), "b.png": encoded(flat(255)), "c.png": GOOD})
    return zip_of(content.replace(b"b.png", b"a.png"), tmp_path)


def test_later_one_of_two_zip_entries_with_one_name_is_used(doubled: Path) -> None:
    assert (picture(opened(doubled), "a.png") == 255).all()


def test_earlier_one_of_two_zip_entries_with_one_name_is_named(doubled: Path) -> None:
    data = opened(doubled)
    assert data.names == ["a.png", "c.png"]
    assert data.skipped == {"a.png (an earlier one)": "the zip has a later file of the same name"}


def patched(content: bytes, name: bytes, local_offset: int, central_offset: int, value: bytes) -> bytes:
    """The zip with a field of one file overwritten, in both of its headers.

    The name follows 30 bytes of local header before the file, and 46 of central header at the end.
    """
    patched = bytearray(content)
    for start in (patched.find(name) - 30 + local_offset, patched.rfind(name) - 46 + central_offset):
        patched[start : start + len(value)] = value
    return bytes(patched)


def encrypted(content: bytes, name: bytes) -> bytes:
    return patched(content, name, 6, 8, b"\1\0")  # bit 0 of the flags


def test_encrypted_zip_entry_is_named(tmp_path: Path) -> None:
    content = encrypted(zip_bytes({"a.png": GOOD, "good.png": GOOD}), b"a.png")
    data = opened(zip_of(content, tmp_path))
    assert (data.names, list(data.skipped)) == (["good.png"], ["a.png"])
    assert "encrypted, password required" in data.skipped["a.png"]


def test_encrypted_zip_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none of its 1 pictures is usable; a\.png: .*encrypted") as error:
        opened(zip_of(encrypted(zip_bytes({"a.png": GOOD}), b"a.png"), tmp_path))
    assert len(str(error.value).splitlines()) == 1


def test_encrypted_label_file_is_a_usage_error_of_the_labels_alone(tmp_path: Path) -> None:
    content = encrypted(zip_bytes({"a.png": GOOD, "metadata.jsonl": b"{}"}), b"metadata.jsonl")
    data = opened(zip_of(content, tmp_path))
    with pytest.raises(UsageError, match=r"cannot read its metadata\.jsonl \(.*encrypted"):
        data.labels  # noqa: B018


def test_zip_entry_with_a_wrong_checksum_is_named(tmp_path: Path) -> None:
    content = zip_bytes({"a.png": b"UNDAMAGED", "good.png": GOOD}).replace(b"UNDAMAGED", b"XXDAMAGED")
    data = opened(zip_of(content, tmp_path))
    assert (data.names, list(data.skipped)) == (["good.png"], ["a.png"])
    assert "CRC" in data.skipped["a.png"]


def test_zip_entry_packed_in_an_unknown_way_is_named(tmp_path: Path) -> None:
    content = patched(zip_bytes({"a.png": GOOD, "good.png": GOOD}), b"a.png", 8, 10, b"\x63\0")
    data = opened(zip_of(content, tmp_path))
    assert data.skipped == {"a.png": "That compression method is not supported"}


def test_zip_entry_that_ends_too_early_is_named(tmp_path: Path) -> None:
    # both sizes say a megabyte, which reaches beyond the end of the zip
    size = struct.pack("<II", 2**20, 2**20)
    content = patched(zip_bytes({"a.png": GOOD, "good.png": GOOD}), b"a.png", 18, 20, size)
    assert opened(zip_of(content, tmp_path)).skipped == {"a.png": "cut off"}


def test_zip_entry_without_a_name_is_passed_over(tmp_path: Path) -> None:
    content = bytearray(zip_bytes({"good.png": GOOD, "x.png": GOOD}))
    lengths = content.rfind(b"x.png") - 46 + 28  # of name, extra field and comment
    content[lengths : lengths + 6] = struct.pack("<HHH", 0, 0, 5)  # what was the name is the comment
    assert opened(zip_of(content, tmp_path)).names == ["good.png"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packed_zip_entry_is_read_whole(tmp_path: Path, method: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    padded = encoded(pixels) + np.random.default_rng(2).bytes(30_000)  # more than is unpacked at once
    data = opened(zip_of(zip_bytes({"a.png": padded}, method), tmp_path))
    np.testing.assert_array_equal(picture(data, "a.png"), pixels)


@pytest.mark.parametrize(("size", "names"), [(5000, ["a.png", "good.png"]), (5001, ["good.png"])])
def test_zip_entry_that_unpacks_to_more_than_the_limit_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, names: list[str]
) -> None:
    monkeypatch.setattr("facegan.data.source.MAX_FILE_BYTES", 5000)
    content = zip_bytes({"a.png": GOOD.ljust(size, b"\0"), "good.png": GOOD}, zipfile.ZIP_DEFLATED)
    assert opened(zip_of(content, tmp_path)).names == names


def test_zip_entry_over_the_limit_is_named_with_both_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facegan.data.source.MAX_FILE_BYTES", 5000)
    content = zip_bytes({"a.png": bytes(5001), "good.png": GOOD}, zipfile.ZIP_DEFLATED)
    skipped = opened(zip_of(content, tmp_path)).skipped
    assert skipped == {"a.png": "5,001 bytes; at most 5,000 are read"}


def test_zip_entry_that_lies_about_its_size_takes_no_memory(tmp_path: Path) -> None:
    content = zip_bytes({"a.png": bytes(2**24), "good.png": GOOD}, zipfile.ZIP_DEFLATED)
    content = patched(content, b"a.png", 22, 24, struct.pack("<I", 100))  # its unpacked size
    path = zip_of(content, tmp_path)
    tracemalloc.start()
    try:
        data = opened(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert list(data.skipped) == ["a.png"]
    assert peak < 2**22  # a quarter of what it would unpack to


ZIP = zip_bytes({"a.png": GOOD, "b/c.png": GOOD, "metadata.jsonl": b'{"file_name": "a.png", "age": 3}'})
PACKED_ZIP = zip_bytes({"a.png": GOOD, "metadata.jsonl": b"{}"}, zipfile.ZIP_DEFLATED)
# the note in front of the end record that says where a zip of more than 4 GB continues: on another disk
OTHER_DISK = ZIP[:-22] + struct.pack("<4sLQL", b"PK\x06\x07", 1, 0, 2) + ZIP[-22:]


def test_zip_cut_at_any_length_is_a_usage_error(tmp_path: Path) -> None:
    refused = []
    for length in range(len(ZIP)):
        with pytest.raises(UsageError, match="not a usable zip file") as error:
            opened(zip_of(ZIP[:length], tmp_path))
        refused.append(len(str(error.value).splitlines()) == 1)
    assert all(refused)


@pytest.mark.parametrize("content", [OTHER_DISK, b"words, no zip"], ids=["part of several", "text"])
def test_what_is_no_whole_zip_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError, match=r"pictures\.zip: not a usable zip file"):
        opened(zip_of(content, tmp_path))


def check_zip(content: bytes) -> None:
    """It is read, with its labels, or a UsageError of one line: neither is another error."""
    with tempfile.TemporaryDirectory() as place:
        try:
            data = opened(zip_of(content, Path(place)))
            assert len(data.names) >= 1
            assert len(data.labels) == len(data.names)
            message = "none"
        except UsageError as error:
            message = str(error)
    assert len(message.splitlines()) == 1


@fuzzed
@given(content=st.binary(max_size=300))
def test_random_bytes_as_zip_are_read_or_a_usage_error(content: bytes) -> None:
    check_zip(content)


@fuzzed
@given(content=damaged([ZIP, PACKED_ZIP, OTHER_DISK]))
def test_damaged_zip_is_read_or_a_usage_error(content: bytes) -> None:
    check_zip(content)


DIRECTORY_BYTES = 300  # at the end of ZIP: headers of three files, and the end record


@fuzzed
@given(place=st.integers(len(ZIP) - DIRECTORY_BYTES, len(ZIP) - 2), value=st.binary(min_size=1, max_size=2))
def test_zip_with_a_damaged_directory_is_read_or_a_usage_error(place: int, value: bytes) -> None:
    check_zip(ZIP[:place] + value + ZIP[place + len(value) :])


@pytest.mark.slow
@thoroughly_fuzzed
@given(content=damaged([ZIP, PACKED_ZIP, OTHER_DISK]))
def test_zip_damaged_in_many_ways_is_read_or_a_usage_error(content: bytes) -> None:
    check_zip(content)


@pytest.mark.slow
def test_zip_with_any_byte_of_it_changed_is_read_or_a_usage_error() -> None:
    for place in range(len(ZIP)):
        for value in (0, 1, 0x2F, 0x80, 0xFF):  # 0x2F is a slash
            check_zip(ZIP[:place] + bytes([value]) + ZIP[place + 1 :])
