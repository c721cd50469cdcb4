"""Seeds, truncation: the field's conventions, and pictures independent of their batch."""

from __future__ import annotations

import itertools
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_stylegan2 import small_sampler

from facegan import models
from facegan.config import UsageError
from facegan.images import read_provenance
from facegan.labels import Attribute, LabelSpace
from facegan.networks.dcgan import DCGANConfig, DCGANGenerator
from facegan.output import write_grid, write_pictures
from facegan.synthesis import Sampler, latent, parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0-3", [0, 1, 2, 3]),
        ("1,5,9-12", [1, 5, 9, 10, 11, 12]),
        (" 7 , 8 ", [7, 8]),
        ("4294967295", [2**32 - 1]),
    ],
)
def test_seeds_are_ranges_and_lists(text: str, seeds: list[int]) -> None:
    assert list(parse_seeds(text)) == seeds


@pytest.mark.parametrize(
    "text", ["", "a", "1-", "-1", "3-1", "1,,2", "1.5", "4294967296", "0-4294967296", "1 2"]
)
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="seed"):
        parse_seeds(text)


def test_a_range_of_all_seeds_is_not_written_out() -> None:
    assert len(parse_seeds("0-4294967295")) == 2**32


def test_a_seed_s_latent_is_the_published_convention() -> None:
    # first numbers of numpy's legacy MT19937 + polar method for seed 0, as in numpy's own documentation
    expected = [1.76405235, 0.40015721, 0.97873798, 2.2408932]
    np.testing.assert_allclose(latent(0, 4), expected, atol=1e-8)


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_batch_size_changes_a_picture_by_at_most_one_grey_level(batch: int, tiny_run: Path) -> None:
    one = Sampler(models.load(str(tiny_run)), device="cpu", batch=8).sample(range(8))
    other = Sampler(models.load(str(tiny_run)), device="cpu", batch=batch).sample(range(8))
    assert np.abs(one.astype(int) - other.astype(int)).max() <= 1


def test_psi_scales_w_about_its_mean(tiny_model: models.Model) -> None:
    sampler = Sampler(tiny_model, device="cpu")
    z = latent(3, 8)[None]
    np.testing.assert_allclose(sampler.w(z, 0.7)[0, 0], 0.7 * z[0], rtol=1e-6)  # DCGAN: w = z, mean 0


@pytest.mark.parametrize("psi", [-1.0, 0.0, 0.5, 1.0, 1.5])
def test_any_psi_scales_w_about_its_mean(psi: float) -> None:
    """Above 1 and below 0 as between them."""
    sampler = small_sampler()
    z = np.stack([latent(seed, 7) for seed in (3, 4)])
    w = sampler.generator.mapping(torch.from_numpy(z).float())
    mean = sampler.generator.w_avg
    assert mean.abs().min() > 0
    torch.testing.assert_close(sampler.w(z, psi), mean + psi * (w - mean), rtol=1e-5, atol=1e-6)


def test_truncation_leaves_a_dcgan_s_label_as_it_is() -> None:
    """Its w is z and label, one behind the other, and the mean of z is 0."""
    hats = LabelSpace((Attribute("hat", ("cap", "fez")),))
    config = DCGANConfig(resolution=8, z_dim=8, g_base_channels=4, labels=hats)
    sampler = Sampler(models.Model(DCGANGenerator(config).eval(), config), device="cpu")
    z, label = latent(3, 8)[None], torch.tensor([[0.0, 1.0]])
    w = sampler.w(z, 0.5, label=label)
    assert torch.equal(w[..., 8:], label[:, None])
    np.testing.assert_allclose(w[0, 0, :8], 0.5 * z[0], rtol=1e-6)


def test_psi_0_gives_everyone_the_same_face(tiny_model: models.Model) -> None:
    faces = Sampler(tiny_model, device="cpu").sample([1, 2], psi=0.0)
    assert (faces[0] == faces[1]).all()


@pytest.mark.parametrize("noise", ["const", "random", "one for all"])
def test_any_number_of_w_goes_through_the_network_a_batch_at_a_time(
    noise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler, whole = small_sampler(batch=2), small_sampler(batch=8)
    w = sampler.w(np.stack([latent(seed, 7) for seed in range(5)]))
    maps = {"const": "const", "random": sampler.noise_maps(range(5))}.get(noise, sampler.noise_maps([3]))
    wide = maps if isinstance(maps, str) else [each.expand(5, -1, -1, -1) for each in maps]
    expected = whole.images(w, wide).astype(int)
    batches: list[int] = []
    images = Sampler.images

    def counted(self: Sampler, w: torch.Tensor, noise: Any) -> Any:
        batches.append(len(w))
        return images(self, w, noise)

    monkeypatch.setattr(Sampler, "images", counted)
    assert np.abs(sampler.pictures(w, maps) - expected).max() <= 1  # another batch
    assert batches == [2, 2, 1]


def test_sample_gives_uint8_hwc_and_no_seeds_give_no_pictures(tiny_model: models.Model) -> None:
    sampler = Sampler(tiny_model, device="cpu")
    assert sampler.sample(range(3)).shape == (3, 8, 8, 3)
    assert sampler.sample([]).shape == (0, 8, 8, 3)


def test_stream_is_lazy(tiny_model: models.Model) -> None:
    endless = Sampler(tiny_model, device="cpu", batch=4).stream(itertools.count())
    assert [seed for seed, _ in itertools.islice(endless, 6)] == [0, 1, 2, 3, 4, 5]


def test_noise_on_a_model_without_noise_inputs_warns(tiny_model: models.Model) -> None:
    with pytest.warns(UserWarning, match="has no effect"):
        Sampler(tiny_model, device="cpu").sample([0], noise="random")
    with pytest.raises(UsageError, match="did you mean 'none'"):
        Sampler(tiny_model, device="cpu").sample([0], noise="nome")


def test_the_device_that_is_not_there_is_refused(
    tiny_model: models.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(UsageError, match="not on this machine"):
        Sampler(tiny_model, device="mps")


# ---- files


def test_pictures_are_named_by_seed_and_say_where_they_come_from(
    tiny_model: models.Model, tmp_path: Path
) -> None:
    count = write_pictures(Sampler(tiny_model, device="cpu"), [3, 12345], tmp_path, psi=0.5)
    assert count == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed0003.png", "seed12345.png"]
    provenance = read_provenance(tmp_path / "seed12345.png")
    assert provenance is not None
    assert (provenance.model, provenance.seeds, provenance.psi) == ("tiny", "12345", 0.5)
    assert provenance.synthetic


def test_a_grid_of_too_many_pictures_is_refused(tiny_model: models.Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most 10,000"):
        write_grid(Sampler(tiny_model, device="cpu"), range(10_001), tmp_path, psi=1.0)


@pytest.mark.parametrize("write", [write_pictures, write_grid])
def test_pictures_with_alpha_into_jpegs_are_refused_before_any_is_made(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = small_sampler(channels=4)
    for name in ("sample", "stream"):
        monkeypatch.setattr(Sampler, name, None)
    with pytest.raises(UsageError, match="JPEG has no transparency; use png or webp"):
        write(sampler, range(2), tmp_path / "out", psi=1.0, file_format="jpg")
    assert not (tmp_path / "out").exists()


def test_memory_does_not_grow_with_the_number_of_pictures(
    tiny_model: models.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all batches that were made, at most two are alive at any time: the one in work and the next."""
    sampler = Sampler(tiny_model, device="cpu", batch=4)
    batches: list[weakref.ref[object]] = []
    alive = []
    synthesis = tiny_model.generator.synthesis

    def watched(*arguments: Any) -> Any:
        images = synthesis(*arguments)
        alive.append(sum(batch() is not None for batch in batches))
        batches.append(weakref.ref(images.untyped_storage()))
        return images

    monkeypatch.setattr(tiny_model.generator, "synthesis", watched)
    write_pictures(sampler, range(40), tmp_path, psi=1.0)
    assert len(batches) == 10
    assert max(alive) <= 1


@pytest.mark.parametrize("psi", [float("nan"), float("inf")])
def test_psi_is_a_finite_number(psi: float, tiny_model: models.Model) -> None:
    with pytest.raises(UsageError, match="psi"):
        Sampler(tiny_model, device="cpu").sample([0], psi=psi)


def test_loading_a_model_leaves_the_caller_s_random_numbers_alone(tiny_run: Path) -> None:
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    models.load(str(tiny_run))
    assert torch.equal(torch.randn(3), expected)


def test_pictures_that_are_not_finite_are_an_error(tiny_model: models.Model) -> None:
    """A model file may hold finite weights whose pictures are not, such as a negative variance."""
    next(iter(tiny_model.generator.norms)).running_var.fill_(-1.0)  # type: ignore[arg-type, union-attr]
    with pytest.raises(UsageError, match=r"model 'tiny': its pictures are not finite"):
        Sampler(tiny_model, device="cpu").sample([0])


@pytest.mark.parametrize("text", ["0-4", "0-9999998,5"])
def test_too_many_seeds_are_counted_before_they_are_listed(text: str) -> None:
    assert list(parse_seeds("0-2,7", 4)) == [0, 1, 2, 7]
    with pytest.raises(UsageError, match="at most 4 at a time"):
        parse_seeds(text, 4)


def test_samplers_of_one_model_do_not_change_each_other(tiny_model: models.Model) -> None:
    first = Sampler(tiny_model)
    before = first.sample(range(4))
    second = Sampler(tiny_model, precision="bf16")
    assert second.generator.compute_dtype == torch.bfloat16
    assert first.generator.compute_dtype == tiny_model.generator.compute_dtype == torch.float32
    np.testing.assert_array_equal(first.sample(range(4)), before)


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([1.5], "seed 1.5: a whole number, 0 to 4294967295"),
        ("0-8", "seed '0': a whole number"),
        ([None], "seed None: a whole number"),
        (7, r"seeds 7: several, such as range\(64\) or \[7\]"),
    ],
)
def test_what_is_no_seed_is_refused(seeds: Any, said: str, tiny_model: models.Model) -> None:
    with pytest.raises(UsageError, match=said):
        Sampler(tiny_model, device="cpu").sample(seeds)


@pytest.mark.parametrize("psi", ["x", None, [0.7]])
def test_a_psi_that_is_no_number_is_refused(psi: Any, tiny_model: models.Model) -> None:
    with pytest.raises(UsageError, match=r"-10 to 10, usually 0\.5 to 1"):
        Sampler(tiny_model, device="cpu").sample(range(2), psi=psi)


def test_numpy_s_and_torch_s_numbers_are_seeds_and_psis(tiny_model: models.Model) -> None:
    sampler = Sampler(tiny_model, device="cpu")
    expected = sampler.sample([3, 4], psi=0.5)
    half: Any = np.float32(0.5)
    np.testing.assert_array_equal(sampler.sample(np.arange(3, 5), psi=half), expected)
    np.testing.assert_array_equal(sampler.sample(torch.arange(3, 5), psi=half), expected)
