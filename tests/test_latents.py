"""Latents in files and near a face: read back as written, refused where damaged or foreign."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import one_line
from numpy.lib import format as npy
from PIL import Image
from small_stylegan2 import SHAPE, networks

from facegan import cli, models
from facegan.config import UsageError
from facegan.images import Provenance, read_provenance
from facegan.labels import Attribute, LabelSpace
from facegan.latents.direction_file import fingerprint
from facegan.latents.files import Latents, check_latents_path, read_latents, write_latents
from facegan.latents.near import Near
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.synthesis import Sampler, latent

SEEDS = [9, 4, 4_000_000_000, 1, 7]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A StyleGAN2 of 16 px: 6 layers, z of 7 numbers, w of 6."""
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    models.save(path, models.Model(networks()[0], StyleGAN2Config(**SHAPE)), torch.float32)
    return path


@pytest.fixture
def sampler(model_file: Path) -> Sampler:
    return Sampler(models.load(str(model_file)), device="cpu", precision="fp32", batch=2)


# ---- round trips


@pytest.mark.parametrize("noise", ["const", "random", "none"])
def test_pictures_of_saved_w_are_the_pictures_to_the_bit(
    noise: str, sampler: Sampler, tmp_path: Path
) -> None:
    expected = sampler.sample(SEEDS, 0.7, noise, 3)
    write_latents(tmp_path / "new" / "w.npz", sampler, SEEDS, psi=0.7, cutoff=3)
    latents = read_latents(tmp_path / "new" / "w.npz")
    assert (sampler.sample(range(len(latents)), noise=noise, start=latents) == expected).all()


def test_a_dcgan_s_w_can_be_saved_too(tiny_model: models.Model, tmp_path: Path) -> None:
    sampler = Sampler(tiny_model, device="cpu")
    write_latents(tmp_path / "w.npz", sampler, SEEDS, psi=0.7)
    latents = read_latents(tmp_path / "w.npz")
    assert (sampler.sample(range(5), start=latents) == sampler.sample(SEEDS, 0.7)).all()


def test_the_file_is_plain_npz_with_w_seeds_and_fingerprint(sampler: Sampler, tmp_path: Path) -> None:
    write_latents(tmp_path / "w.npz", sampler, SEEDS, psi=0.7)
    with np.load(tmp_path / "w.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["fingerprint", "seeds", "w"]
        assert arrays["fingerprint"].tobytes().hex() == fingerprint(sampler.generator)
        assert arrays["seeds"].tolist() == SEEDS
        assert (arrays["w"].dtype, arrays["w"].shape) == (np.float32, (5, 6, 6))
        z = np.stack([latent(seed, 7) for seed in SEEDS])
        np.testing.assert_allclose(arrays["w"], sampler.w(z, 0.7).numpy(), atol=1e-6)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_z_from_a_file_is_truncated_as_a_seed_s_z_is(suffix: str, sampler: Sampler, tmp_path: Path) -> None:
    z = np.stack([latent(seed, 7) for seed in SEEDS])
    path = tmp_path / f"z{suffix}"
    if suffix == ".npz":
        np.savez_compressed(path, z=z)
    else:
        path.write_text(json.dumps({"z": z.tolist()}))
    found = sampler.sample(range(5), 0.7, cutoff=4, start=read_latents(path))
    assert (found == sampler.sample(SEEDS, 0.7, cutoff=4)).all()


def test_one_w_for_all_layers_and_one_for_each_are_the_same(sampler: Sampler, tmp_path: Path) -> None:
    w = sampler.w(np.stack([latent(seed, 7) for seed in SEEDS])).numpy()
    found = []
    for name, array in (("flat", w[:, 0]), ("full", w), ("columns", np.asfortranarray(w))):
        np.savez(tmp_path / name, w=array)
        found.append(sampler.sample(range(5), start=read_latents(tmp_path / f"{name}.npz")))
    assert all((pictures == sampler.sample(SEEDS)).all() for pictures in found)


# ---- what is refused


ROWS = [[0.5] * 7, [1.0] * 7]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"v": ROWS}, "has neither w nor z"),
        ({"z": ROWS, "w": ROWS}, "it has both"),
        ({"z": []}, "shape"),
        ({"z": ROWS[0]}, "shape"),
        ({"z": [ROWS]}, "shape"),
        ({"w": ROWS[0]}, "shape"),
        ({"z": [[0.5], [0.5, 1.0]]}, "rows of one length"),
        ({"z": [["a"]]}, "not an array of numbers"),
        ({"z": [[None]]}, "not an array of numbers"),
        ({"z": [[True]]}, "not an array of numbers"),
        ({"z": {"0": 1}}, "not an array of numbers"),
        ({"z": [[10**400]]}, "not an array of numbers"),
        ({"z": [[float("nan")] * 7]}, "not all its numbers"),
        ({"z": [[float("inf")] * 7]}, "not all its numbers"),
        ({"z": [[1e300] * 7]}, "not all its numbers"),
        ({"z": ROWS, "seeds": [1]}, "1 seeds for 2 rows"),
        ({"z": ROWS, "seeds": [1, 2.5]}, "whole numbers"),
        ({"z": ROWS, "seeds": [1, -2]}, "whole numbers"),
        ({"z": ROWS, "seeds": [1, float("nan")]}, "whole numbers"),
        ({"w": ROWS, "fingerprint": [1] * 15}, "a list of 16 bytes"),
        ({"w": ROWS, "fingerprint": [256] * 16}, "a list of 16 bytes"),
        ({"w": ROWS, "fingerprint": [0.5] * 16}, "a list of 16 bytes"),
        ({"w": ROWS, "fingerprint": [float("nan")] * 16}, "a list of 16 bytes"),
        ([], "expected"),
        (3, "expected"),
    ],
)
def test_what_is_no_latents_is_refused(data: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match=said):
        read_latents(path)


def npz_with(path: Path, content: bytes, name: str = "w.npy") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header((10**9, 10**9)), "at most 134,217,728 numbers"),
        (header((2**20, 1), "<f16") + bytes(16), "not a usable .npz"),
        (header((3, 6)), "not a usable .npz"),  # and nothing after it
        (header((1, 6), "|O") + b"cos\nsystem\n(S'exit 1'\ntR.", "holds object values"),
        (header((1, 6), "<c8") + bytes(48), "holds complex64 values"),
        (header((1, 6), "|b1") + bytes(6), "holds bool values"),
        (header((-1, 6)), "not a usable .npz"),
        (b"\x93NUMPY\x09\x00" + bytes(20), "not a usable .npz"),
        (b"", "not a usable .npz"),
    ],
)
def test_hostile_arrays_are_refused_before_they_are_allocated(
    content: bytes, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        read_latents(npz_with(tmp_path / "x.npz", content))


def test_an_entry_that_numpy_would_take_instead_is_not_read(tmp_path: Path) -> None:
    """np.load prefers an entry "w" to "w.npy", whose size was looked at."""
    good = io.BytesIO()
    np.save(good, np.ones((2, 6), np.float32))
    path = npz_with(tmp_path / "x.npz", good.getvalue())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("w", header((10**9, 10**9)))
    assert len(read_latents(path)) == 2


def test_damaged_files_are_refused(sampler: Sampler, tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    write_latents(path, sampler, SEEDS)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(UsageError, match="not a usable"):
            read_latents(path)
    for position in range(0, len(whole), 31):
        flipped = bytearray(whole)
        flipped[position] ^= 0xFF
        path.write_bytes(flipped)
        try:
            read_latents(path)
        except UsageError:
            continue
    (tmp_path / "x.json").write_bytes(b"\xff{")
    with pytest.raises(UsageError, match="not JSON"):
        read_latents(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="not JSON"):
        read_latents(tmp_path / "x.json")


def test_another_model_s_latents_are_refused(sampler: Sampler) -> None:
    for latents, wanted in (
        (Latents("f", w_rows=np.zeros((2, 5, 6))), r"wants \[N, 6, 6\]"),
        (Latents("f", w_rows=np.zeros((2, 7))), r"wants \[N, 6, 6\]"),
        (Latents("f", z_rows=np.zeros((2, 6))), r"wants \[N, 7\]"),
    ):
        with pytest.raises(UsageError, match=wanted):
            sampler.sample([0], start=latents)


def test_w_of_another_model_is_used_with_one_note(sampler: Sampler, tmp_path: Path) -> None:
    """A model that was trained on is another, too, and may want its w of before. z is for any model."""
    write_latents(tmp_path / "w.npz", sampler, SEEDS)
    generator, _ = networks()
    with torch.no_grad():
        generator.w_avg += 1.0
    other = Sampler(models.Model(generator, StyleGAN2Config(**SHAPE), name="other"), device="cpu", batch=2)
    latents = read_latents(tmp_path / "w.npz")
    with pytest.warns(UserWarning, match=r"w\.npz: w comes from another model than 'other'") as notes:
        other.sample(range(5), start=latents)
    assert len(notes) == 1
    sampler.sample(range(5), start=latents)  # without a note, as of z, and of a file that does not say it
    other.sample([0], start=Latents("f", z_rows=np.zeros((1, 7)), fingerprint=latents.fingerprint))
    other.sample([0], start=Latents("f", w_rows=np.zeros((1, 6))))


@pytest.mark.parametrize("how", [{"psi": 0.7}, {"cutoff": 2}])
def test_w_is_used_as_it_is_and_says_so(how: dict[str, Any], sampler: Sampler) -> None:
    with pytest.raises(UsageError, match="is used as it is"):
        sampler.sample([0], start=Latents("f", w_rows=np.zeros((1, 6))), **how)


def test_latents_are_saved_as_npz_in_a_place_that_can_be_written(sampler: Sampler, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, said in ((tmp_path / "w.json", "one of .npz"), (tmp_path / "file" / "w.npz", "not a folder")):
        with pytest.raises(UsageError, match=said):
            check_latents_path(path, sampler, 1)
    with pytest.raises(UsageError, match="at most 3,728,270"):  # 2**30 / (8 * 6 * 6)
        check_latents_path(tmp_path / "w.npz", sampler, 2**22)


# ---- near a face


def test_radius_0_is_the_face_itself_and_radius_1_the_seed_s(sampler: Sampler) -> None:
    one = Sampler(sampler.model, device="cpu", batch=1)  # the same sums
    for noise in ("const", "random"):
        face, other = one.sample([7], 0.7, noise)[0], one.sample([4], 0.7)[0]
        assert all((p == face).all() for p in one.sample([3, 4], 0.7, noise, start=Near(7, 0.0)))
    assert (one.sample([4], 0.7, start=Near(7, 1.0))[0] == other).all()


def test_z_near_a_face_keeps_its_distribution_and_its_correlation() -> None:
    """Over many dimensions: variance 1, correlation sqrt(1 - r^2); 5 standard errors of 100,000 numbers."""
    dim = 100_000
    for radius in (0.3, 0.6):
        z = Near(7, radius).z(4, dim)
        assert z.var() == pytest.approx(1, abs=5 * (2 / dim) ** 0.5)
        correlation = np.corrcoef(z, latent(7, dim))[0, 1]
        assert correlation == pytest.approx((1 - radius**2) ** 0.5, abs=5 / dim**0.5)


@pytest.mark.parametrize("radius", [-0.1, 1.1, float("nan")])
def test_other_radii_are_refused(radius: float) -> None:
    with pytest.raises(UsageError, match="radius"):
        Near(7, radius)
    with pytest.raises(UsageError, match="seed -1"):
        Near(-1)


# ---- labels


def test_labels_of_latents_are_the_face_s_or_those_of_the_file_s_seeds(tmp_path: Path) -> None:
    """What is left open is drawn by the face itself, or by the seeds in the file; w has them already."""
    space = LabelSpace((Attribute("hat", ("no", "yes")), Attribute("age", ("young", "adult", "old"))))
    config = StyleGAN2Config(**SHAPE, labels=space)
    sampler = Sampler(models.Model(networks(labels=space)[0], config), device="cpu", batch=1)
    expected = sampler.sample(SEEDS, 0.7, label="hat=yes")
    assert (expected != sampler.sample(SEEDS, 0.7, label="hat=no")).any()
    near = sampler.sample([3, 4], 0.7, label="hat=yes", start=Near(SEEDS[0], 0.0))
    assert all((picture == expected[0]).all() for picture in near)
    z = np.stack([latent(seed, 7) for seed in SEEDS])
    stored = Latents("f", z_rows=z, seeds=SEEDS)
    assert (sampler.sample(range(5), 0.7, label="hat=yes", start=stored) == expected).all()
    write_latents(tmp_path / "w.npz", sampler, SEEDS, psi=0.7, label="hat=yes")
    saved = read_latents(tmp_path / "w.npz")
    assert (sampler.sample(range(5), start=saved) == expected).all()
    with pytest.raises(UsageError, match="label have no effect"):
        sampler.sample([0], label="hat=yes", start=saved)


# ---- the command


def test_generate_saves_latents_and_starts_from_them(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["generate", "--model", str(model_file), "--device", "cpu", "--noise", "random", "--json"]
    file = tmp_path / "new" / "faces.npz"
    words = ["--seeds", "5,3,5", "--psi", "0.6", "--cutoff", "4", "--out", str(tmp_path / "a")]
    assert cli.run([*model, *words, "--save-latents", str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "folder": str(tmp_path / "a"), "pictures": 2, "latents": str(file)
    }  # fmt: skip
    assert read_latents(file).seeds == [5, 3]  # a row for each file
    assert cli.run([*model, "--latents", str(file), "--out", str(tmp_path / "b")]) == 0
    for old, new in (("seed0005", "latent0000"), ("seed0003", "latent0001")):
        made = [np.asarray(Image.open(tmp_path / f)) for f in (f"a/{old}.png", f"b/{new}.png")]
        assert (made[0] == made[1]).all()
    assert read_provenance(tmp_path / "a" / "seed0005.png") == Provenance("small", "5", 0.6, cutoff=4)
    assert read_provenance(tmp_path / "b" / "latent0001.png") == Provenance("small", "w 1 of faces.npz", 1.0)


def test_a_grid_s_latents_are_its_pictures(model_file: Path, sampler: Sampler, tmp_path: Path) -> None:
    words = ["generate", "--model", str(model_file), "--seeds", "5,3,5,5", "--grid", "--out", str(tmp_path)]
    assert cli.run([*words, "--save-latents", str(tmp_path / "w.npz")]) == 0
    assert read_latents(tmp_path / "w.npz").seeds == [5, 3, 5, 5]


def test_generate_makes_faces_near_a_seed_s(
    model_file: Path, sampler: Sampler, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", "--model", str(model_file), "--like", "7", "--seeds", "0-1", "--radius", "0.2"]
    assert cli.run([*words, "--out", str(tmp_path)]) == 0
    expected = sampler.sample([0, 1], 0.7, start=Near(7, 0.2))
    for seed in (0, 1):
        path = tmp_path / f"like0007_seed{seed:04d}.png"
        assert (np.asarray(Image.open(path)) == expected[seed]).all()
    provenance = read_provenance(tmp_path / "like0007_seed0001.png")
    assert provenance == Provenance("small", "like 7, radius 0.2, seeds 1", 0.7)
    assert (expected[0] != sampler.sample([7], 0.7)[0]).any()


def test_a_picture_of_a_model_without_a_name_still_has_its_provenance(tmp_path: Path) -> None:
    from facegan.images import save

    provenance = Provenance("", "3", 0.0, cutoff=0)
    save(tmp_path / "x.png", np.zeros((2, 2, 3), np.uint8), provenance)
    assert read_provenance(tmp_path / "x.png") == provenance


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--latents", "W", "--seeds", "1"], "--latents and --seeds"),
        (["--latents", "W", "--like", "1"], "--latents and --like"),
        (["--latents", "W", "--psi", "0.7"], "psi, cutoff and label have no effect"),
        (["--latents", "W", "--cutoff", "1"], "psi, cutoff and label have no effect"),
        (["--latents", "W", "--model", "dcgan-64"], "latents fit the model that they come from"),
        (["--latents", "w.txt"], "one of .npz, .json"),
        (["--latents", "none.npz"], "none.npz"),
        (["--radius", "0.3"], "--radius has no effect without --like"),
        (["--like", "3", "--radius", "2"], "radius 2: 0 (the face itself) to 1"),
        (["--like", "-3"], "seed -3: 0 to 4294967295"),
        (["--cutoff", "7"], "cutoff 7: 0 to 6"),
        (["--save-latents", "w.json"], "one of .npz"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(
    arguments: list[str], said: str, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    file = tmp_path / "w.npz"
    np.savez(file, w=np.zeros((2, 6)))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    words = [str(file) if word == "W" else word for word in arguments]
    assert said in one_line(capsys, ["generate", "--model", str(model_file), *words])
    assert list((tmp_path / "empty").iterdir()) == []
