"""Saved pictures: formats, and what they say about their origin."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from small_data import encoded, noise

from facegan.config import UsageError
from facegan.images import MAX_JPEG_WORDS, Provenance, read_provenance, save

PROVENANCE = Provenance(model="dcgan-64", seeds="3, 5 & 7 < 9", psi=0.7)
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"  # IPTC's term


SUFFIX_CHANNELS = [
    (suffix, channels)
    for suffix in (".png", ".jpg", ".jpeg", ".webp", ".PNG")
    for channels in (1, 3, 4)
    if not (suffix in (".jpg", ".jpeg") and channels == 4)
]


@pytest.mark.parametrize(("suffix", "channels"), SUFFIX_CHANNELS)
def test_provenance_survives_saving(tmp_path: Path, suffix: str, channels: int) -> None:
    save(tmp_path / f"a{suffix}", noise(8, 8, channels), PROVENANCE)
    assert read_provenance(tmp_path / f"a{suffix}") == PROVENANCE


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_provenance_may_hold_any_characters(tmp_path: Path, suffix: str) -> None:
    provenance = Provenance(model='Zo\u00eb \u4e00 "a\\b"\n', seeds="</rdf:li>]]>", psi=-1.5, synthetic=False)
    save(tmp_path / f"a{suffix}", noise(8, 8, 3), provenance)
    assert read_provenance(tmp_path / f"a{suffix}") == provenance


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_provenance_may_be_long(tmp_path: Path, suffix: str) -> None:
    """A JPEG has no place for it: it says how the seeds begin, how long the text is, and its hash."""
    seeds = ",".join(str(4_000_000_000 + number) for number in range(7000))
    save(tmp_path / f"a{suffix}", noise(8, 8, 3), replace(PROVENANCE, seeds=seeds))
    said = read_provenance(tmp_path / f"a{suffix}")
    short = f"{seeds[:1000]} ... (76,999 characters in all, sha256 "
    digest = hashlib.sha256(seeds.encode()).hexdigest()[:16]
    expected = f"{short}{digest})" if suffix == ".jpg" else seeds
    assert said == replace(PROVENANCE, seeds=expected)


def test_the_longest_words_that_a_jpeg_keeps_fit_whatever_they_are(tmp_path: Path) -> None:
    """Two of them, escaped as long as can be: & is &amp; in XMP, other letters six characters in JSON."""
    provenance = Provenance("\u4e00" * MAX_JPEG_WORDS, "&" * MAX_JPEG_WORDS, 0.7)
    save(tmp_path / "a.jpg", noise(8, 8, 3), provenance)
    assert read_provenance(tmp_path / "a.jpg") == provenance


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_picture_without_provenance_says_nothing(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / f"a{suffix}", noise(8, 8, 3))
    assert read_provenance(tmp_path / f"a{suffix}") is None


@pytest.mark.parametrize("description", ["a holiday", "[1, 2]", '{"model": "x"}', "3"])
def test_another_program_s_description_is_no_provenance(tmp_path: Path, description: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = description
    (tmp_path / "a.jpg").write_bytes(encoded(Image.new("RGB", (8, 8)), "JPEG", exif=exif))
    assert read_provenance(tmp_path / "a.jpg") is None


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_keeps_every_pixel(tmp_path: Path, channels: int) -> None:
    pixels = noise(9, 7, channels)
    save(tmp_path / "a.png", pixels, PROVENANCE)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".jpeg", "JPEG"), (".webp", "WEBP")])
def test_suffix_decides_the_format(tmp_path: Path, suffix: str, kind: str) -> None:
    save(tmp_path / f"a{suffix}", np.full((16, 16, 3), (200, 100, 50), np.uint8), PROVENANCE)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert (image.format, image.size) == (kind, (16, 16))


def test_png_text_says_model_seeds_psi_and_synthetic(tmp_path: Path) -> None:
    save(tmp_path / "a.png", noise(8, 8, 3), PROVENANCE)
    with Image.open(tmp_path / "a.png") as image:
        text = {key: image.text[key] for key in ("model", "seeds", "psi", "synthetic")}
    assert text == {"model": "dcgan-64", "seeds": "3, 5 & 7 < 9", "psi": "0.7", "synthetic": "True"}


@pytest.fixture(params=[".png", ".jpg", ".webp"])
def xmp(request: pytest.FixtureRequest, tmp_path: Path) -> ElementTree.Element:
    """The XMP of a saved picture, parsed."""
    path = tmp_path / f"a{request.param}"
    save(path, noise(8, 8, 3), PROVENANCE)
    with Image.open(path) as image:
        return ElementTree.fromstring(image.info["xmp"].decode())


def test_xmp_says_trained_algorithmic_media(xmp: ElementTree.Element) -> None:
    name = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert [element.attrib[name] for element in xmp.iter() if name in element.attrib] == [TRAINED]


def test_xmp_description_holds_the_seeds_unharmed(xmp: ElementTree.Element) -> None:
    texts = [element.text for element in xmp.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li")]
    assert [json.loads(text or "")["seeds"] for text in texts] == ["3, 5 & 7 < 9"]


@pytest.mark.parametrize(("name", "nearest"), [("a.pgn", ".png"), ("a.jpgg", ".jpg"), ("a.web", ".webp")])
def test_unknown_suffix_names_the_nearest(tmp_path: Path, name: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{nearest}'"):
        save(tmp_path / name, noise(8, 8, 3))


def test_jpeg_with_alpha_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.jpg: JPEG has no transparency"):
        save(tmp_path / "a.jpg", noise(8, 8, 4))
