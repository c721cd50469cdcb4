"""Checkpoints and model files: atomic, round trip, nothing executed, nothing trusted."""

from __future__ import annotations

import json
import math
import os
import pickle
import tempfile
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from hostile_pickles import bounded
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from facegan import checkpoint, models, tensor_file
from facegan.card import Card
from facegan.config import UsageError
from facegan.models import Model
from facegan.networks import build_generator
from facegan.networks.dcgan import DCGANConfig
from facegan.training.transfer import weights_of


def test_parts_come_back_bit_equal(tmp_path: Path) -> None:
    parts = {
        "G": {"w": torch.randn(3, 4)},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}},
        "images_seen": 7,
    }
    checkpoint.save(tmp_path / "7.pt", parts)
    loaded = checkpoint.load(tmp_path / "7.pt")
    assert torch.equal(loaded["G"]["w"], parts["G"]["w"])  # type: ignore[index]
    assert loaded["optimizer"]["state"][0]["step"] == 3
    assert loaded["images_seen"] == 7


class Canary:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_hostile_checkpoint_is_refused_without_executing_it(tmp_path: Path) -> None:
    canary, hostile = tmp_path / "canary", tmp_path / "1.pt"
    torch.save({"format": 1, "G": Canary(canary)}, hostile)
    with pytest.raises(UsageError, match="not a usable checkpoint"):
        checkpoint.load(hostile)
    hostile.write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(UsageError, match="not a usable checkpoint"):
        checkpoint.load(hostile)
    assert not canary.exists()


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_truncated_checkpoint_is_refused(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "1.pt"
    checkpoint.save(path, {"G": {"w": torch.randn(64, 64)}})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UsageError, match="not a usable checkpoint"):
        checkpoint.load(path)


def test_a_later_format_is_refused_by_number(tmp_path: Path) -> None:
    torch.save({"format": 99}, tmp_path / "1.pt")
    with pytest.raises(UsageError, match="format 99"):
        checkpoint.load(tmp_path / "1.pt")


def test_a_format_that_is_no_number_is_refused(tmp_path: Path) -> None:
    torch.save({"format": torch.zeros(2)}, tmp_path / "1.pt")
    with pytest.raises(UsageError, match="not a usable checkpoint"):
        checkpoint.load(tmp_path / "1.pt")


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file: IO[bytes]) -> None:
        file.write(b"half of the new o")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        checkpoint.write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_takes_the_old_one_s_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append("replace"), replace(old, new)))
    checkpoint.write_atomically(tmp_path / "file", lambda file: file.write(b"new"))
    # the file, the rename, then the folder that holds the name
    assert calls == ["fsync", "replace", "fsync"]


def test_prune_keeps_the_newest_and_one_for_every_so_many_images(tmp_path: Path) -> None:
    for images_seen in range(0, 1100, 100):
        checkpoint.checkpoint_path(tmp_path, images_seen).touch()
    checkpoint.prune(tmp_path, keep_newest=2, keep_every_images=300)
    assert [int(path.stem) for path in checkpoint.checkpoints(tmp_path)] == [300, 600, 900, 1000]


def test_prune_without_an_interval_keeps_only_the_newest(tmp_path: Path) -> None:
    for images_seen in (5, 50, 500):
        checkpoint.checkpoint_path(tmp_path, images_seen).touch()
    checkpoint.prune(tmp_path, keep_newest=2, keep_every_images=0)
    assert [int(path.stem) for path in checkpoint.checkpoints(tmp_path)] == [50, 500]


def test_checkpoints_are_ordered_by_number_and_leave_out_strangers(tmp_path: Path) -> None:
    for name in ("1000000000.pt", "999999999.pt", "notes.pt", ".000000005.pt.partial", "12.txt"):
        (tmp_path / name).touch()
    assert [path.stem for path in checkpoint.checkpoints(tmp_path)] == ["999999999", "1000000000"]


# ---- model files

CONFIG = DCGANConfig(resolution=8, z_dim=4, g_base_channels=2)


def a_model() -> Model:
    torch.manual_seed(0)
    return Model(build_generator(CONFIG), CONFIG, Card(data="d", images_seen=5, licence="CC0-1.0"), "m")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 0.0), (torch.float16, 2**-11)])
def test_a_model_comes_back_from_its_file(dtype: torch.dtype, tolerance: float, tmp_path: Path) -> None:
    model = a_model()
    models.save(tmp_path / "m.safetensors", model, dtype)
    loaded = models.load(str(tmp_path / "m.safetensors"))
    assert (loaded.config, loaded.card, loaded.name) == (model.config, model.card, "m")
    for expected, got in zip(
        model.generator.state_dict().values(), loaded.generator.state_dict().values(), strict=True
    ):
        # half a unit in the last place of float16, relative
        torch.testing.assert_close(got.float(), expected.float(), rtol=tolerance, atol=1e-7)
    assert not loaded.generator.training
    assert all(parameter.dtype == torch.float32 for parameter in loaded.generator.parameters())


def test_numbers_too_large_for_float16_stay_as_they_are(tmp_path: Path) -> None:
    model, path = a_model(), tmp_path / "m.safetensors"
    with torch.no_grad():
        model.generator.get_parameter("first.weight").fill_(1e5)
    models.save(path, model)
    types = {name: tensor.dtype for name, tensor in models.read_tensors(path).items()}
    assert [name for name, dtype in types.items() if dtype == torch.float32] == ["G.first.weight"]
    assert torch.float16 in types.values()
    assert (models.load(str(path)).generator.get_parameter("first.weight") == 1e5).all()


def write_model(path: Path, *, metadata: dict[str, str] | None = None, **tensors: torch.Tensor) -> None:
    """A model file with some of its tensors and metadata replaced."""
    state = {"G." + key: value for key, value in a_model().generator.state_dict().items()} | tensors
    base = {
        "facegan_format": "1",
        "config": json.dumps({"architecture": "dcgan", "resolution": 8, "z_dim": 4, "g_base_channels": 2}),
        "card": "{}",
    }
    save_file(state, path, base | (metadata or {}))


def test_the_hand_made_model_file_is_a_good_one(tmp_path: Path) -> None:
    write_model(tmp_path / "m.safetensors")
    assert models.load(str(tmp_path / "m.safetensors")).config == CONFIG


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"facegan_format": "9"}, "models of format '9'; this version of facegan reads 1"),
        ({"config": "{"}, "metadata is damaged"),
        ({"config": '{"architecture": "vae"}'}, "architecture 'vae': one of dcgan"),
        ({"config": '{"architecture": "dcgan", "resolution": 1000000}'}, "resolution 1000000"),
        ({"config": '{"architecture": "dcgan", "resolution": 16}'}, "does not fit its own header"),
        ({"card": '{"surprise": 1}'}, "no such setting"),
        ({"card": "7"}, "expected an object"),
    ],
)
def test_damaged_metadata_is_refused(metadata: dict[str, str], message: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.safetensors", metadata=metadata)
    with pytest.raises(UsageError, match=message):
        models.load(str(tmp_path / "m.safetensors"))


def test_tensors_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    write_model(tmp_path / "a.safetensors", **{"G.first.weight": torch.zeros(3, 3)})
    with pytest.raises(UsageError, match=r"first\.weight has shape \[3, 3\], expected \[4, 2, 4, 4\]"):
        models.load(str(tmp_path / "a.safetensors"))
    write_model(tmp_path / "b.safetensors", **{"G.extra": torch.zeros(3)})
    with pytest.raises(UsageError, match="extra is unknown"):
        models.load(str(tmp_path / "b.safetensors"))


def test_other_files_are_refused_as_models(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="not one of facegan's models"):
        models.load(str(tmp_path / "other.safetensors"))
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(UsageError, match="not a usable safetensors file"):
        models.load(str(tmp_path / "text.safetensors"))
    with pytest.raises(UsageError, match="a folder without"):
        models.load(str(tmp_path))


def test_a_run_folder_is_a_model_of_its_name(tiny_run: Path) -> None:
    assert models.load(str(tiny_run)).name == "tiny"


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'dcgan-64'"):
        models.find("dcgan64")


@pytest.mark.parametrize("name", ["hf://nobody", "hf://a/b/c"])
def test_a_malformed_hub_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="hf://owner/name"):
        models.find(name)


def test_a_hub_model_that_is_not_cached_is_a_clear_error_offline() -> None:
    with pytest.raises(UsageError, match="hf://nobody/nothing"):
        models.find("hf://nobody/nothing")


@pytest.mark.parametrize("name", list(models.shipped()))
def test_shipped_models_are_small_and_say_what_they_are(name: str) -> None:
    path = models.shipped()[name]
    assert path.stat().st_size <= 8_000_000
    _, card = models.read_header(path)
    assert card.images_seen > 100_000
    assert card.licence == "CC0-1.0"
    assert card.data
    text = path.with_suffix(".md").read_text()
    assert f"{card.images_seen:,}" in text


@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64, torch.bool])
def test_weights_of_another_kind_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    write_model(tmp_path / "m.safetensors", **{"G.first.weight": torch.ones(4, 2, 4, 4, dtype=dtype)})
    with pytest.raises(UsageError, match=r"first\.weight holds torch\.\w+ numbers, expected torch\.float32"):
        models.load(str(tmp_path / "m.safetensors"))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    write_model(tmp_path / "m.safetensors", **{"G.first.weight": torch.full((4, 2, 4, 4), value)})
    with pytest.raises(UsageError, match=r"first\.weight holds numbers that are not finite"):
        models.load(str(tmp_path / "m.safetensors"))


BITS = {"F4": 4, "F6_E2M3": 6, "F8_E8M0": 8, "F8_E5M2": 8, "C64": 64, "I64": 64}


def as_file(path: Path, **types: str) -> None:
    """The model's file, of zeros, with one more tensor or another type of number for one of its own."""
    write_model(path, **{"D.extra": torch.zeros(8)})
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header, end = json.loads(data[8 : 8 + size]), 0
    for name, entry in header.items():
        if name != "__metadata__":
            entry["dtype"] = types.get(name, entry["dtype"])
            bits = math.prod(entry["shape"]) * BITS.get(entry["dtype"], 32)
            start, end = end, end + bits // 8
            entry["data_offsets"] = [start, end]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))


@pytest.mark.parametrize("dtype", ["F4", "F6_E2M3", "F8_E8M0", "F8_E5M2", "C64"])
def test_types_of_number_that_no_network_has_are_refused_on_every_way(dtype: str, tmp_path: Path) -> None:
    """Some the format has and torch has not, others torch has and cannot compare or convert."""
    path = tmp_path / "m.safetensors"
    as_file(path)
    assert models.load(str(path)).config == CONFIG  # a good one otherwise
    as_file(path, **{"D.extra": dtype})
    before = path.read_bytes()
    for call in (
        lambda: models.read_tensors(path),
        lambda: weights_of(str(path)),  # facegan train --init
        lambda: models.rewrite_card(path, Card()),
        lambda: models.load(str(path), discriminator=True),
    ):
        with pytest.raises(UsageError, match=r"which no network here has|does not fit its own header"):
            call()
    assert path.read_bytes() == before
    as_file(path, **{"G.first.weight": dtype})
    with pytest.raises(UsageError, match=r"expected torch\.float32|not a usable safetensors file"):
        models.load(str(path))


def test_weights_in_float64_are_read_as_float32(tmp_path: Path) -> None:
    write_model(tmp_path / "m.safetensors", **{"G.first.weight": torch.ones(4, 2, 4, 4, dtype=torch.float64)})
    assert next(models.load(str(tmp_path / "m.safetensors")).generator.parameters()).dtype == torch.float32


@pytest.mark.parametrize("declared", [10**6, 10**18])
def test_a_tensor_that_is_declared_larger_than_its_file_is_refused(declared: int, tmp_path: Path) -> None:
    tensor = {"dtype": "F32", "shape": [declared], "data_offsets": [0, 4 * declared]}
    header = json.dumps({"__metadata__": {"facegan_format": "1"}, "G.first.weight": tensor}).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 64)
    with pytest.raises(UsageError, match="not a usable safetensors file"):
        models.load(str(path))


def test_a_header_of_a_network_that_the_file_does_not_hold_costs_next_to_nothing(tmp_path: Path) -> None:
    config = {"architecture": "stylegan2", "resolution": 1024, "channel_base": 2**17, "channel_max": 1024}
    metadata = {"facegan_format": "1", "config": json.dumps(config), "card": "{}"}
    header = json.dumps({"__metadata__": metadata}).encode()
    (tmp_path / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with bounded(), pytest.raises(UsageError, match="does not fit its own header"):
        models.load(str(tmp_path / "m.safetensors"))


def test_a_header_that_is_declared_larger_than_its_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes((2**60).to_bytes(8, "little") + b"{}")
    with pytest.raises(UsageError, match="not a usable safetensors file"):
        models.load(str(tmp_path / "m.safetensors"))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_checkpoint_with_any_byte_changed_is_refused_or_still_the_same(place: float, change: int) -> None:
    """torch looks at no checksum: a changed byte would be a changed weight."""
    parts = {"G": {"w": torch.arange(256.0)}, "images_seen": 7}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "7.pt")
        checkpoint.save(path, parts)
        data = bytearray(path.read_bytes())
        data[int(place * len(data))] ^= change
        path.write_bytes(data)
        try:
            loaded = checkpoint.load(path)
        except UsageError:
            return
        assert torch.equal(loaded["G"]["w"], torch.arange(256.0))
        assert loaded["images_seen"] == 7


def test_the_same_model_is_the_same_bytes(tmp_path: Path) -> None:
    """Written by processes whose hashes differ, as a resumed run's model is."""
    tensors = {f"layer{number}": torch.full((number % 3 + 1,), float(number)) for number in range(40)}
    metadata = {f"key{number}": str(number) for number in range(20)}
    for name in ("a", "b"):
        tensor_file.write_tensors(tmp_path / name, dict(tensors), dict(metadata))
        found = tensor_file.read_all(tmp_path / name)
        assert all(torch.equal(found[key], value) for key, value in tensors.items())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
