"""The network that reads attributes off faces: its definition, targets and files, and the shipped one."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file, save_file

from facegan import models
from facegan.config import UsageError, from_json
from facegan.data.dataset import STARTER_PATH
from facegan.images import Pixels, decode
from facegan.people.population import HAIR_COLOURS
from facegan.perception import attributes as module
from facegan.perception.attributes import (
    NAMES,
    SHIPPED,
    TABLE,
    AttributeNetwork,
    Attributes,
    AttributesCard,
    Trait,
    mirrored,
    standardised,
    targets,
)

REPOSITORY = Path(__file__).parent.parent
PERSON: dict[str, Any] = {
    "age_years": 41, "gender_presentation": "female",
    "ancestry": {"african": 0.1, "asian": 0.7, "caucasian": 0.2},
    "skin_tone": 2.5, "hair_length": "medium", "hair_colour": "brown", "hair_greyness": 0.25, "hat": "none",
    "glasses": "round", "beard": False, "yaw_degrees": -12.5,
    "expression": {"mouthSmileLeft": 0.4, "mouthSmileRight": 0.6, "jawOpen": 0.2, "mouthUpperUpLeft": 0.3},
}  # fmt: skip


def random_attributes() -> Attributes:
    torch.manual_seed(0)
    network = AttributeNetwork(2)
    network.draw_weights()
    for conv in network.convs:
        torch.nn.init.normal_(conv.bias, std=0.3)  # type: ignore[arg-type]
    card = AttributesCard((Trait("age", "number", "years", 40.0, 10.0), Trait("glasses", "yes/no")))
    return Attributes(network, card)


def pictures(count: int, *shape: int) -> Pixels:
    return np.random.default_rng(1).integers(0, 256, (count, *(shape or (64, 64, 3))), dtype=np.uint8)


@pytest.fixture(scope="module")
def starter() -> tuple[Pixels, npt.NDArray[np.float32]]:
    """400 pictures of the starter set, which the shipped network has not seen, and their numbers."""
    with zipfile.ZipFile(STARTER_PATH) as archive:
        lines = archive.read("metadata.jsonl").decode().splitlines()[:400]
        people = [json.loads(line) for line in lines]
        shown = np.stack([np.asarray(decode(archive.read(person["file_name"]))) for person in people])
    return shown, np.stack([targets(person) for person in people])


# ---- scores


def test_scores_are_those_of_the_definition() -> None:
    """Against plain numpy: nine taps a convolution."""
    attributes = random_attributes()
    weights = {name: tensor.double().numpy() for name, tensor in attributes.network.state_dict().items()}
    x = pictures(2).astype(np.float64).transpose(0, 3, 1, 2) / 127.5 - 1
    for index, stride in enumerate((2, 2, 2, 1, 2, 1)):
        kernel = weights[f"convs.{index}.weight"]
        size = x.shape[2]
        padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
        x = sum(
            np.einsum("oi,nihw->nohw", kernel[:, :, a, b], padded[:, :, a : a + size, b : b + size])
            for a in range(3)
            for b in range(3)
        )[:, :, ::stride, ::stride]
        x = x + weights[f"convs.{index}.bias"][:, None, None]
        x = np.where(x > 0, x, 0.2 * x)
    out = x.mean(axis=(2, 3)) @ weights["head.weight"].T + weights["head.bias"]
    expected = out * [10.0, 1.0] + [40.0, 0.0]
    np.testing.assert_allclose(attributes.scores(pictures(2)), expected, atol=1e-3)


def test_a_score_does_not_depend_on_the_batch() -> None:
    attributes = random_attributes()
    shown = pictures(module.CHUNK + 3)
    together = attributes.scores(shown)
    for index in (0, 1, module.CHUNK - 1, module.CHUNK, module.CHUNK + 2):
        alone = attributes.scores(shown[index : index + 1])[0]
        np.testing.assert_allclose(together[index], alone, atol=1e-3)  # years; float32 sums in another order
    assert together.std(axis=0).min() > 0.01
    assert attributes.scores(shown[:0]).shape == (0, 2)


def test_grey_and_transparent_pictures_and_other_sizes_are_read() -> None:
    attributes = random_attributes()
    grey = pictures(2, 64, 64, 1)
    np.testing.assert_array_equal(attributes.scores(grey), attributes.scores(grey.repeat(3, axis=3)))
    clear = np.concatenate([pictures(2), np.zeros((2, 64, 64, 1), np.uint8)], axis=3)
    np.testing.assert_array_equal(attributes.scores(clear), attributes.scores(np.full_like(pictures(2), 255)))
    flat = np.full((1, 64, 64, 3), 90, np.uint8)
    for height, width in ((128, 128), (16, 32)):
        resized = attributes.scores(np.full((1, height, width, 3), 90, np.uint8))
        np.testing.assert_allclose(resized, attributes.scores(flat), atol=1e-3)


# ---- targets


def test_targets_are_the_labels_numbers() -> None:
    found = dict(zip(NAMES, targets(PERSON).tolist(), strict=True))
    # perceptual lightness: power 1/2.2 of linear light, a quarter of it of grey hair (0.41)
    lightness = 0.75 * np.mean(HAIR_COLOURS["brown"]) ** (1 / 2.2) + 0.25 * 0.41 ** (1 / 2.2)
    expected = {
        "age": 41, "male": 0, "smile": 0.5, "mouth_open": 0.2 + 0.3 / 2 / 2, "glasses": 1, "beard": 0,
        "hair_length": 3, "hair_darkness": 1 - lightness, "skin_tone": 2.5, "yaw": -12.5, "african": 0.1,
        "asian": 0.7, "caucasian": 0.2,
    }  # fmt: skip
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("changed", "unseen"),
    [
        ({}, set()),
        ({"hat": "cap"}, {"hair_length", "hair_darkness"}),
        ({"hair_length": "bald"}, {"hair_darkness"}),
        ({"hair_colour": "dyed"}, {"hair_darkness"}),
    ],
)
def test_what_the_picture_does_not_show_is_left_out(changed: dict[str, Any], unseen: set[str]) -> None:
    found = targets(PERSON | changed)
    assert {name for name, number in zip(NAMES, found, strict=True) if np.isnan(number)} == unseen


def test_darker_hair_has_a_higher_number_and_grey_lowers_it() -> None:
    def darkness(colour: str, greyness: float = 0.0) -> float:
        labels = PERSON | {"hair_colour": colour, "hair_greyness": greyness}
        return float(targets(labels)[NAMES.index("hair_darkness")])

    order = ["black", "dark brown", "brown", "chestnut", "red", "dark blond", "blond"]
    numbers = [darkness(colour) for colour in order]
    assert numbers == sorted(numbers, reverse=True)
    assert darkness("white", 0.95) < darkness("grey", 0.6) < darkness("black", 0.3) < darkness("black")


def test_a_mirrored_face_looks_to_the_other_side() -> None:
    rows = np.arange(2 * len(NAMES), dtype=np.float32).reshape(2, -1)
    expected = rows.copy()
    expected[:, NAMES.index("yaw")] *= -1
    np.testing.assert_array_equal(mirrored(rows), expected)


def test_numbers_are_standardised_over_those_who_show_them() -> None:
    rows = np.zeros((4, len(NAMES)), np.float32) + np.arange(4, dtype=np.float32)[:, None]
    rows[3, NAMES.index("hair_length")] = np.nan
    table = {attribute.name: attribute for attribute in standardised(rows)}
    assert (table["hair_length"].mean, table["age"].mean) == (1.0, 1.5)
    assert table["age"].deviation == pytest.approx(1.25**0.5)
    assert (table["glasses"].mean, table["glasses"].deviation) == (0.0, 1.0)


# ---- files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "attributes.safetensors"
    random_attributes().save(path)
    return path


def test_a_file_gives_back_the_network_and_its_card(file: Path) -> None:
    before, after = random_attributes(), Attributes.load(file)
    assert after.card == before.card
    assert after.names == ("age", "glasses")
    for name, tensor in after.network.state_dict().items():  # stored as float16
        assert torch.equal(tensor, before.network.state_dict()[name].half().float())


def damaged(file: Path, change: str) -> None:
    tensors: dict[str, Any] = load_file(file)
    metadata = {"facegan_attributes": "1", "header": json.dumps({"attributes": [
        {"name": "age", "kind": "number"}, {"name": "glasses", "kind": "yes/no"}]})}  # fmt: skip
    if change == "nan":
        tensors["head.bias"][0] = torch.nan
    elif change == "shape":
        tensors["head.bias"] = torch.zeros(3)
    elif change == "missing":
        del tensors["head.bias"]
    elif change == "unknown":
        tensors["other"] = torch.zeros(1)
    elif change == "type":
        tensors["head.bias"] = torch.zeros(2, dtype=torch.int32)
    elif change == "format":
        metadata["facegan_attributes"] = "2"
    elif change == "kind":
        del metadata["facegan_attributes"]
    else:
        metadata["header"] = change
    save_file(tensors, file, metadata)


def header(*attributes: dict[str, Any]) -> str:
    return json.dumps({"attributes": attributes})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("nan", "head.bias holds numbers that are not finite"),
        ("shape", r"head.bias has shape \[3\], expected \[2\]"),
        ("missing", "head.bias is missing"),
        ("unknown", "other is unknown"),
        ("type", "head.bias holds torch.int32 numbers"),
        ("format", "attributes of format '2'; this version of facegan reads 1"),
        ("kind", "not one of facegan's attributes"),
        ("{", "its header is damaged"),
        ("[]", "expected an object"),
        (header(), "0 attributes: 1 to 100"),
        (header(*[{"name": "age", "kind": "number"}] * 2), "2 attributes: 1 to 100, each once"),
        (header(*({"name": str(n), "kind": "number"} for n in range(101))), "101 attributes"),
        (header({"name": "age", "kind": "number", "deviation": 0}), "deviation 0.0, not above 0"),
        (header({"name": "age", "kind": "number", "mean": "x"}), "expected a number"),
        (header({"name": "age", "kind": "colour"}), "one of number, yes/no"),
        (header({"name": "age", "kind": "number"}), r"head.* has shape \[2"),
    ],
)
def test_a_damaged_file_is_refused(file: Path, change: str, said: str) -> None:
    damaged(file, change)
    with pytest.raises(UsageError, match=said):
        Attributes.load(file)


def test_a_cut_file_and_other_files_are_refused(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    for length in (0, 5, 100, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:length])
        with pytest.raises(UsageError, match="not a usable safetensors file"):
            Attributes.load(file)
    with pytest.raises(UsageError, match="not a usable safetensors file"):
        Attributes.load(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="not one of facegan's attributes"):
        Attributes.load(models.find("dcgan-64"))


# ---- the shipped one


def test_the_shipped_network_is_small_free_and_no_model() -> None:
    shipped = Attributes.load()
    assert SHIPPED.stat().st_size <= 2_000_000
    assert sum(parameter.numel() for parameter in shipped.network.parameters()) <= 500_000
    assert shipped.names == NAMES
    assert [(a.kind, a.unit) for a in shipped.card.attributes] == [(a.kind, a.unit) for a in TABLE]
    assert (shipped.card.licence, shipped.card.held_out) == ("CC0-1.0", "held-out")
    assert all(attribute.accuracy is not None for attribute in shipped.card.attributes)
    assert "attributes" not in models.shipped()
    assert "dcgan-64" in models.shipped()
    with pytest.raises(UsageError, match="not one of facegan's models"):
        models.load(str(SHIPPED))


def test_files_of_directions_are_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("small.safetensors", "small.directions.safetensors", "attributes.safetensors"):
        (tmp_path / name).touch()
    monkeypatch.setattr(models, "ZOO", tmp_path)
    assert list(models.shipped()) == ["small"]


def test_the_shipped_network_reads_people_that_it_has_not_seen(
    starter: tuple[Pixels, npt.NDArray[np.float32]],
) -> None:
    """Far above chance, and nearly as well as its card says of PNGs: WebP costs an open mouth 0.65 -> 0.5."""
    shown, numbers = starter
    shipped = Attributes.load()
    scores = shipped.scores(shown)
    for index, attribute in enumerate(shipped.card.attributes):
        right = numbers[:, index]
        seen = ~np.isnan(right)
        score, right = scores[seen, index], right[seen]
        assert attribute.accuracy is not None
        if attribute.kind == "yes/no":
            accuracy = float(np.mean((score > 0) == (right > 0.5)))
            assert attribute.chance is not None
            least = (2 + attribute.chance) / 3  # two thirds of the way from chance to certainty
            assert accuracy > least, attribute.name
        else:
            accuracy = float(1 - np.mean((score - right) ** 2) / np.var(right))
            assert accuracy > 0.3, attribute.name
        assert accuracy == pytest.approx(attribute.accuracy, abs=0.2), attribute.name


def test_a_mirrored_picture_has_the_other_yaw_and_the_same_age(
    starter: tuple[Pixels, npt.NDArray[np.float32]],
) -> None:
    shipped, shown = Attributes.load(), starter[0][:100]
    here, there = shipped.scores(shown), shipped.scores(np.ascontiguousarray(shown[:, :, ::-1]))
    yaw, age = NAMES.index("yaw"), NAMES.index("age")
    assert np.corrcoef(here[:, yaw], -there[:, yaw])[0, 1] > 0.95
    assert np.corrcoef(here[:, age], there[:, age])[0, 1] > 0.9


# ---- training


def tool(name: str) -> ModuleType:
    """A module of tools/."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found  # where dataclasses look their module up
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """48 people of the starter set, as a zip."""
    path = tmp_path / "few.zip"
    with zipfile.ZipFile(STARTER_PATH) as archive, zipfile.ZipFile(path, "w") as out:
        lines = archive.read("metadata.jsonl").decode().splitlines()[:48]
        for line in lines:
            name = json.loads(line)["file_name"]
            out.writestr(name, archive.read(name))
        out.writestr("metadata.jsonl", "\n".join(lines))
    return path


def content(path: Path) -> tuple[object, bytes]:
    """Of a safetensors file: its header, whose order is not determined, and its numbers."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


@pytest.mark.slow
def test_training_learns_and_the_same_seed_gives_the_same_file(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = tool("train_attributes")
    files = []
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        out = tmp_path / name
        train.main([str(few), str(out), "--held-out", str(few), "--epochs", "4", "--seed", seed])
        files.append(content(out))
    assert files[0] == files[1]
    assert files[0] != files[2]
    assert "hair_length    R^2" in capsys.readouterr().out
    card = Attributes.load(tmp_path / "a").card
    assert (card.data, card.held_out, card.images_seen) == ("few", "few", 4 * 48)
    people = train.opened(str(few))
    for attribute in train.measured(train.trained(people, 300, 0), people).card.attributes:
        assert attribute.accuracy > 0.6, attribute.name  # learnt by heart: 0.78 and more
        assert attribute.chance is None or attribute.accuracy > (1 + attribute.chance) / 2


def test_people_without_labels_are_refused(picture_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(picture_folder, tmp_path / "plain")
    with pytest.raises(UsageError, match="pictures without labels; facegan people draws a set"):
        tool("train_attributes").opened(str(tmp_path / "plain"))


def test_the_card_is_read_from_json() -> None:
    card = from_json(AttributesCard, {"attributes": [{"name": "age", "kind": "number"}]})
    assert card.attributes == (Trait("age", "number"),)
