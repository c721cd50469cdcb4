"""What "did you mean" offers: words that are nearly the given one, and no others."""

from __future__ import annotations

import pytest

from facegan.cli import app
from facegan.config import nearest
from facegan.layers import BANDS
from facegan.perception.features import EXTRACTORS
from facegan.presets import PRESETS
from facegan.runtime import DEVICES

COMMANDS = [str(command.name) for command in app.registered_commands]


@pytest.mark.parametrize(
    ("given", "allowed", "meant"),
    [
        ("genrate", COMMANDS, "generate"),  # a letter is missing
        ("moddels", COMMANDS, "models"),  # one too many
        ("animaet", COMMANDS, "animate"),  # two the wrong way round
        ("Export", COMMANDS, "export"),  # capitals
        ("eval", COMMANDS, "evaluate"),  # the beginning of it
        ("mid", BANDS, "middle"),
        ("styleGAN", PRESETS, "stylegan-64"),
        ("low_data", PRESETS, "low-data"),
        ("dino", EXTRACTORS, "dinov2"),
    ],
)
def test_a_near_word_is_offered(given: str, allowed: list[str], meant: str) -> None:
    assert nearest(given, allowed) == f" (did you mean {meant!r}?)"


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ("run", COMMANDS),  # was: train
        ("list", COMMANDS),  # edit
        ("project", COMMANDS),  # report
        ("sample", COMMANDS),  # people
        ("video", COMMANDS),  # demo
        ("lpips", EXTRACTORS),  # pixels
        ("gpu", DEVICES),  # cpu, the very opposite
        ("large", BANDS),  # coarse
        ("e", BANDS),
        ("", BANDS),
        ("--", ["--out", "--seeds"]),
        ("--s", ["--out", "--seeds"]),
    ],
)
def test_a_word_that_shares_little_with_all_is_offered_none(given: str, allowed: list[str]) -> None:
    assert nearest(given, allowed) == ""
