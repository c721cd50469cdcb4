"""The card of a published model: what the hub reads, how to use it, and foreign text that stays text."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from facegan import models, publishing
from facegan.card import Card, Evaluation, Value
from facegan.labels import Attribute, LabelSpace
from facegan.networks.dcgan import DCGANConfig

CONFIG = DCGANConfig(resolution=16, z_dim=8, g_base_channels=4, d_base_channels=4)
EVALUATION = Evaluation(
    subject="faces", subject_key="", images_seen=1000, samples=2000, seed=3, psi=0.9, precision="fp32",
    data="held | out", data_key="abc", reals=500, resolution=16, crop="center", features="some network",
    version="0.1.0", values=(Value("FD-pixels", 12.345, 11.0, 13.0), Value("recall", 0.25)),
)  # fmt: skip


def card_of(config: DCGANConfig = CONFIG, **changes: object) -> str:
    card = Card(data="50,000 drawn people", images_seen=1_000_064, licence="CC0-1.0", description="Small.")
    return publishing.model_card(
        "me/faces", config, replace(card, **changes), parameters=3_576_704, seeds=range(64)
    )


def front(text: str) -> dict[str, object]:
    _, matter, _ = text.split("---\n", 2)
    found: dict[str, object] = yaml.safe_load(matter)
    return found


def test_the_front_matter_is_what_the_hub_reads() -> None:
    assert front(card_of()) == {
        "license": "cc0-1.0",
        "library_name": "facegan",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["facegan", "gan", "image-generation", "dcgan"],
    }


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("CC BY-NC-SA 4.0", {"license": "cc-by-nc-sa-4.0"}),
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("\u8457\u4f5c\u6a29", {"license": "other", "license_name": "\u8457\u4f5c\u6a29"}),
        ("My own: \"see\" # here", {"license": "other", "license_name": "my-own-see-here"}),
    ],
)  # fmt: skip
def test_a_licence_is_named_in_the_hub_s_words(licence: str, expected: dict[str, str]) -> None:
    found = front(card_of(licence=licence))
    assert {key: value for key, value in found.items() if key.startswith("license")} == expected


def test_the_card_says_how_to_use_it_and_how_not_to() -> None:
    text = card_of()
    assert 'facegan.load("hf://me/faces")' in text
    assert "facegan generate --model hf://me/faces --seeds 0-63 --grid" in text
    assert "uint8 [16, 16, 16, 3]" in text
    assert "![64 samples](samples.jpg)" in text
    for fact in (
        "DCGAN",
        "RGB pictures of 16x16",
        "3,576,704",
        "50,000 drawn people",
        "1,000,064",
        "CC0-1.0",
    ):
        assert fact in text
    assert "| g_base_channels | 4 |" in text
    assert "\nSmall.\n" in text
    assert "Do not pass its pictures off as photographs of real people" in text
    assert "leave the marks in" in text


def test_every_number_stands_there_with_its_whole_protocol() -> None:
    text = card_of(metrics=(EVALUATION, replace(EVALUATION, psi=1.0, width=20)))
    assert text.count("| FD-pixels | 12.35 | 11 to 13 |") == 2
    assert text.count("| recall | 0.25 |  |") == 2
    assert "| data | held &#124; out |" in text
    assert "| psi | 0.9 |" in text
    assert "| width | 20 |" in text
    for name in ("samples", "seed", "precision", "data key", "reals", "crop", "features", "version"):
        assert text.count(f"\n| {name} | ") == 2, name


def test_labels_are_listed_with_their_values() -> None:
    labels = LabelSpace((Attribute("hat", ("no", "yes")), Attribute("age", ("young", "old"))))
    text = card_of(replace(CONFIG, labels=labels))
    assert "| hat | no, yes |" in text
    assert "| age | young, old |" in text


def test_foreign_text_stays_text_in_a_card() -> None:
    """It is no table, heading, link, picture or HTML."""
    text = card_of(data="a | b\n\n# c <script>", description="<img src=x>")
    assert "| data | a &#124; b &#35; c &#60;script&#62; |" in text
    assert not any(part in text for part in ("<script", "<img"))
    text = card_of(
        data="![x](https://tracker/)", description="# big\n<script>alert(1)</script> [y](z)", licence="MIT"
    )
    assert not any(part in text for part in ("![x]", "<script>", "\n# big", "[y]("))


@pytest.mark.parametrize("name", models.shipped())
def test_a_shipped_model_carries_its_numbers(name: str) -> None:
    """Of itself as it is, not of an earlier one."""
    _, card = models.read_header(models.shipped()[name])
    assert card.metrics
    assert {result.images_seen for result in card.metrics} == {card.images_seen}
    assert all(any(value.name == "FD-efficientnet" for value in result.values) for result in card.metrics)
