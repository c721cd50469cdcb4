"""A server's parts by themselves: keys, counters, answers."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from facegan.config import UsageError, override
from facegan.images import Provenance
from facegan.serve.answers import Named, as_zip, encoded, error_answer, is_known, sides
from facegan.serve.counters import Counter, Gauge, Histogram, as_text
from facegan.serve.keys import Keys, key_in, read_keys
from facegan.serve.settings import Settings, require_server_packages


def test_only_whole_keys_are_accepted() -> None:
    keys = Keys(["a" * 16, "b" * 20])
    assert keys.accept(b"a" * 16)
    assert keys.accept(b"b" * 20)
    for wrong in (b"", b"a" * 15, b"a" * 17, b"B" * 20, b"\xff" * 16):
        assert not keys.accept(wrong)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 API keys"),
        ("# nothing\n", "0 API keys"),
        ("short", "API key 1: 16 to 512"),
        (f"{'a' * 16}\n{'b' * 15} c", "API key 2"),
        ("\u00e9" * 16, "API key 1"),
    ],
)
def test_a_wrong_file_of_keys_is_told_without_showing_a_key(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=said) as error:
        read_keys(path)
    assert "bbbb" not in str(error.value)


def test_a_file_that_is_no_text_has_no_keys(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xff\xfe" * 20)
    with pytest.raises(UsageError, match="not a text file"):
        read_keys(tmp_path / "keys")


def test_a_key_is_found_in_either_header() -> None:
    assert key_in([(b"authorization", b"Bearer abc")]) == b"abc"
    assert key_in([(b"authorization", b"Basic abc"), (b"x-api-key", b" xyz ")]) == b"xyz"
    assert key_in([(b"authorization", b"Basic abc")]) == b""


def test_metrics_are_prometheus_text() -> None:
    """Lines of the exposition format 0.0.4: buckets add up, label values are escaped."""
    requests = Counter("a_total", "Of a.", ("path",))
    requests.add('x"\\\n')
    requests.add('x"\\\n', by=1_234_567)
    seconds = Histogram("b", "Of b.", (), (0.1, 1.0))
    for value in (0.1, 0.5, 7.0):
        seconds.observe(value)
    waiting = Gauge("c", "Of c.", "model", lambda: {"m": 2.5})
    assert as_text([requests, seconds, waiting]).splitlines() == [
        "# HELP a_total Of a.",
        "# TYPE a_total counter",
        'a_total{path="x\\"\\\\\\n"} 1234568',
        "# HELP b Of b.",
        "# TYPE b histogram",
        'b_bucket{le="0.1"} 1',
        'b_bucket{le="1"} 2',
        'b_bucket{le="+Inf"} 3',
        "b_sum 7.6",
        "b_count 3",
        "# HELP c Of c.",
        "# TYPE c gauge",
        'c{model="m"} 2.5',
    ]


def test_if_none_match_is_compared_weakly() -> None:
    """RFC 9110, sec. 13.1.2."""
    assert is_known('"a"', '"a"')
    assert is_known('"a"', 'W/"a"')
    assert is_known('"a"', '"b", "a"')
    assert is_known('"a"', "*")
    for header in (None, "", '"b"', "a", '"ab"'):
        assert not is_known('"a"', header)


def test_the_longer_side_becomes_the_size() -> None:
    assert sides((64, 64), None) == (64, 64)
    assert sides((80, 64), 40) == (40, 32)
    assert sides((64, 80), 160) == (128, 160)
    assert sides((1, 1000), 10) == (1, 10)


def test_pictures_with_transparency_are_no_jpeg() -> None:
    with pytest.raises(UsageError, match="use png or webp"):
        encoded(np.zeros((8, 8, 4), np.uint8), None, "jpg", Provenance("m", "1", 1.0))


def test_grey_pictures_are_resized_too() -> None:
    data = encoded(np.zeros((8, 8, 1), np.uint8), 16, "png", Provenance("m", "1", 1.0))
    assert data[16:24] == bytes([0, 0, 0, 16, 0, 0, 0, 16])  # IHDR's width and height


def test_the_same_pictures_are_the_same_zip() -> None:
    pictures = [Named("a.png", b"1", 1), Named("b.png", b"2", 2)]
    assert as_zip(pictures) == as_zip(pictures)
    with zipfile.ZipFile(io.BytesIO(as_zip(pictures))) as archive:
        assert {each.date_time[0] for each in archive.infolist()} == {1980}  # not the time of asking
        assert {name: archive.read(name) for name in archive.namelist()} == {"a.png": b"1", "b.png": b"2"}


def test_an_error_is_one_line_of_a_readable_length_in_ascii() -> None:
    answer = error_answer(422, "a\n b\ud800" + "x" * 5000, "id")
    assert len(answer.body) < 700
    assert bytes(answer.body).startswith(b'{"error": "a b\\ud800xxx')


def test_limits_are_changed_by_name() -> None:
    settings = override(Settings(), ["max_pictures=16", "allow_origins=https://a.example,https://b.example"])
    assert settings.max_pictures == 16
    assert settings.allow_origins == ("https://a.example", "https://b.example")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fastapi", None)
    with pytest.raises(UsageError, match=r"pip install 'facegan\[studio\]'"):
        require_server_packages()
