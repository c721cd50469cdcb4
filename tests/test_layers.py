"""Layers in words: coarse, middle and fine as in StyleGAN's section 3.1; ranges, lists; what is refused."""

from __future__ import annotations

import pytest

from facegan.config import UsageError
from facegan.layers import layers_text, parse_layers


@pytest.mark.parametrize(
    ("text", "num_ws", "layers"),
    [
        ("coarse", 18, range(4)),  # a model of 1024 px has 18 layers
        ("middle", 18, range(4, 8)),
        ("fine", 18, range(8, 18)),
        ("fine", 10, range(8, 10)),  # 64 px
        ("middle", 6, range(4, 6)),  # 16 px: those that it has
        ("0-17", 18, range(18)),
        ("5", 18, [5]),
        ("coarse,9-11", 18, [0, 1, 2, 3, 9, 10, 11]),
        (" 9 , 2-3 ,3", 18, [2, 3, 9]),  # ascending, each once
    ],
)
def test_words_and_numbers_are_layers(text: str, num_ws: int, layers: list[int]) -> None:
    assert parse_layers(text, num_ws) == tuple(layers)


def test_coarse_middle_and_fine_are_all_layers_once() -> None:
    for num_ws in (10, 12, 14, 16, 18):  # 64 to 1024 px
        found = [layer for word in ("coarse", "middle", "fine") for layer in parse_layers(word, num_ws)]
        assert found == list(range(num_ws))


@pytest.mark.parametrize(
    ("text", "num_ws", "said"),
    [
        ("corse", 18, "did you mean 'coarse'"),
        ("", 18, "coarse, middle, fine, or layers"),
        ("1-", 18, "or layers such as"),
        ("-1", 18, "or layers such as"),
        ("coarse,", 18, "or layers such as"),
        ("1.5", 18, "or layers such as"),
        ("\u0663", 18, "or layers such as"),
        ("5-3", 18, "write 3-5"),
        ("18", 18, "this model has layers 0-17"),
        ("0-18", 18, "this model has layers 0-17"),
        ("9" * 5000, 18, "this model has layers 0-17"),
        ("fine", 8, "8 and up; this model has layers 0-7"),
        ("middle", 4, "4 and up; this model has layers 0-3"),
        ("coarse", 1, "a single layer, whose w is z itself"),
        ("0", 1, "a single layer"),
    ],
)
def test_other_layers_are_refused(text: str, num_ws: int, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        parse_layers(text, num_ws)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ((0, 1, 2, 3), "0-3"),
        ((5,), "5"),
        ((0, 1, 4), "0-1,4"),
        ((2, 4, 6, 7, 8), "2,4,6-8"),
        (range(18), "0-17"),
    ],
)
def test_layers_are_said_in_ranges_that_are_read_again(layers: tuple[int, ...], text: str) -> None:
    assert layers_text(layers) == text
    assert parse_layers(text, 18) == tuple(layers)
