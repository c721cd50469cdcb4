"""Films: loops without a seam, the layers and noise asked for, walks side by side."""

from __future__ import annotations

import json
import math
import weakref
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from small_stylegan2 import small_sampler

from facegan import cli, models
from facegan.animation import Held, Motion, deal, parse_walks, spline, walk, walks, write_walks
from facegan.config import UsageError
from facegan.images import Pixels
from facegan.latents.files import Latents
from facegan.synthesis import Sampler, latent


@pytest.fixture
def styled() -> Sampler:
    """A small StyleGAN2 with noise and six layers."""
    return small_sampler(batch=32)


@pytest.fixture
def tiny(tiny_model: models.Model) -> Sampler:
    return Sampler(tiny_model, device="cpu", batch=5)


def spied(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, Any]]:
    """The w and the noise that the sampler's generator is given, as they come."""
    given: list[tuple[torch.Tensor, Any]] = []
    synthesis = sampler.generator.synthesis

    def watched(w: torch.Tensor, noise: Any) -> torch.Tensor:
        given.append((w, noise))
        return synthesis(w, noise)

    monkeypatch.setattr(sampler.generator, "synthesis", watched)
    return given


# ---- one walk


@pytest.mark.parametrize("path", ["z", "w"])
@pytest.mark.parametrize("easing", ["smooth", "none"])
def test_a_loop_has_no_seam(path: str, easing: str, styled: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the last frame to the first is no longer a step than any other, in w and in pictures."""
    given = spied(styled, monkeypatch)
    frames = np.stack(list(walk(styled, [4, 9, 2], Motion(12, path, easing), psi=1.0))).astype(float)
    w = torch.cat([w for w, _ in given]).double().numpy()
    assert len(frames) == len(w) == 36
    for points in (w, frames):
        steps = np.sqrt(((points - np.roll(points, 1, axis=0)) ** 2).sum(axis=tuple(range(1, points.ndim))))
        assert 0 < steps[0] <= steps[1:].max()


@pytest.mark.parametrize("path", ["z", "w"])
def test_a_looped_walk_has_all_keys_and_an_open_one_ends_at_the_last(path: str, tiny: Sampler) -> None:
    keys = tiny.sample([4, 9, 2], psi=0.7)
    looped = list(walk(tiny, [4, 9, 2], Motion(4, path)))
    opened = list(walk(tiny, [4, 9, 2], Motion(4, path, loop=False)))
    assert (len(looped), len(opened)) == (12, 9)
    for number, frame in ((0, looped[0]), (1, looped[4]), (2, looped[8]), (0, opened[0]), (2, opened[8])):
        assert np.abs(frame.astype(int) - keys[number].astype(int)).max() <= 1


@pytest.mark.parametrize("loop", [True, False])
def test_a_walk_in_w_follows_the_spline_of_its_kind(
    loop: bool, styled: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    z = np.stack([latent(seed, styled.generator.z_dim) for seed in (4, 9, 2)])
    curve = spline(styled.w(z, 0.5).double().numpy(), loop)
    given = spied(styled, monkeypatch)
    list(walk(styled, [4, 9, 2], Motion(2, "w", "none", loop), psi=0.5))
    w = torch.cat([w for w, _ in given]).double().numpy()
    np.testing.assert_allclose(w, [curve(frame / 2) for frame in range(len(w))], atol=1e-6)


def test_one_key_and_too_many_are_refused(tiny: Sampler) -> None:
    for keys in ([1], range(1001)):
        with pytest.raises(UsageError, match=r"keys: a walk goes through 2 to 1,000"):
            list(walk(tiny, keys, Motion(4)))


def test_unknown_words_of_a_motion_are_refused(tiny: Sampler) -> None:
    with pytest.raises(UsageError, match="path 'x': one of z, w"):
        Motion(4, path="x")
    with pytest.raises(UsageError, match="did you mean 'smooth'"):
        Motion(4, easing="smoth")
    with pytest.raises(UsageError, match="0 frames from key to key"):
        Motion(0)
    with pytest.raises(UsageError, match="noise 'random': one of const, drift, none"):
        list(walk(tiny, [1, 2], Motion(4), noise="random"))


# ---- latents, layers, noise


def test_a_walk_through_latents_of_a_file_passes_them(
    styled: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).normal(size=(3, styled.generator.num_ws, 6))
    given = spied(styled, monkeypatch)
    list(walk(styled, range(3), Motion(2, path="w"), psi=1.0, start=Latents("file", w_rows=rows)))
    np.testing.assert_allclose(torch.cat([w for w, _ in given])[::2], rows, atol=1e-6)
    with pytest.raises(UsageError, match="only path 'w' joins"):
        list(walk(styled, range(3), Motion(2), psi=1.0, start=Latents("file", w_rows=rows)))


@pytest.mark.parametrize("path", ["z", "w"])
def test_held_layers_keep_their_seed_while_the_others_walk(
    path: str, styled: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = spied(styled, monkeypatch)
    list(walk(styled, [1, 2], Motion(5, path), psi=0.5))
    plain = torch.cat([w for w, _ in given])
    given.clear()
    list(walk(styled, [1, 2], Motion(5, path), psi=0.5, held=Held(7, (1, 3))))
    mixed = torch.cat([w for w, _ in given])
    fixed = styled.w(latent(7, styled.generator.z_dim)[None], 0.5)
    for layer in range(styled.generator.num_ws):
        expected = fixed[:, layer].expand(10, -1) if layer in (1, 3) else plain[:, layer]
        torch.testing.assert_close(mixed[:, layer], expected, atol=1e-6, rtol=0)


def test_drifting_noise_goes_round_a_circle_once_with_unit_variance(
    styled: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = spied(styled, monkeypatch)
    list(walk(styled, [1, 2, 3], Motion(4), noise="drift"))
    layers = [torch.cat(maps) for maps in zip(*(noise for _, noise in given), strict=True)]
    assert [tuple(m.shape[1:]) for m in layers] == styled.generator.noise_shapes()
    firsts = styled.noise_maps([1])
    for maps, first in zip(layers, firsts, strict=True):
        torch.testing.assert_close(maps[:1], first)  # begins at the first seed's own noise
        torch.testing.assert_close(maps[6:], -maps[:6], atol=1e-6, rtol=0)  # half a turn is the negative
        angle = 2 * math.pi / 12
        for n in range(2, 12):  # n(t + s) + n(t - s) = 2 cos(s) n(t): a circle, whatever its a and b
            expected = 2 * math.cos(angle) * maps[n - 1]
            torch.testing.assert_close(maps[n] + maps[n - 2], expected, atol=1e-5, rtol=0)
    values = torch.cat([maps.flatten(1) for maps in layers], dim=1)
    count = values.shape[1]
    # of n normal numbers the variance has a deviation of sqrt(2 / n); four of them
    assert ((values.var(dim=1) - 1).abs() < 4 * math.sqrt(2 / count)).all()
    correlation = (values[0] * values[3]).mean().item()  # a and b are independent
    assert abs(correlation) < 4 / math.sqrt(count)


def test_held_noise_and_none_reach_the_generator(styled: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    given = spied(styled, monkeypatch)
    for noise in ("const", "none"):
        list(walk(styled, [1, 2], Motion(2), noise=noise))
    assert [noise for _, noise in given] == ["const", "none"]


def test_noise_of_a_model_without_noise_inputs_is_one_note(tiny: Sampler) -> None:
    with pytest.warns(UserWarning, match="noise 'drift' has no effect") as notes:
        assert len(list(walk(tiny, [1, 2], Motion(8), noise="drift"))) == 16
    assert len(notes) == 1


# ---- several walks


def test_keys_are_dealt_out_in_turn_and_evenly() -> None:
    assert [list(keys) for keys in deal(range(6), 3)] == [[0, 1], [2, 3], [4, 5]]
    for count, walks_, said in ((7, 3, "9 would do"), (4, 3, "6 would do"), (1, 1, "2 would do")):
        with pytest.raises(UsageError, match=f"{count} keys? for {walks_} walk.*{said}"):
            deal(range(count), walks_)
    with pytest.raises(UsageError, match="2 to 1,000"):
        deal(range(2**32), 1)


@pytest.mark.parametrize("text", ["", "2", "0x3", "x", "2x", "-1x2", "11x10", "2x3x4"])
def test_walks_are_rows_by_columns(text: str) -> None:
    assert parse_walks("2x3") == (2, 3)
    with pytest.raises(UsageError, match="ROWSxCOLUMNS"):
        parse_walks(text)


@pytest.mark.parametrize("noise", ["const", "drift"])
@pytest.mark.parametrize("path", ["z", "w"])
def test_walks_side_by_side_are_each_the_single_walk(path: str, noise: str, styled: Sampler) -> None:
    styled.batch = 5  # not a multiple of the walks
    motion = Motion(3, path)
    together = np.stack(list(walks(styled, [[1, 2], [3, 4], [5, 6]], motion, noise=noise)))  # [6, 3, H, W, C]
    for number, keys in enumerate(([1, 2], [3, 4], [5, 6])):
        alone = np.stack(list(walk(styled, keys, motion, noise=noise)))
        assert np.abs(together[:, number].astype(int) - alone.astype(int)).max() <= 1


def test_frames_are_made_a_batch_at_a_time(tiny: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long film no more batches are alive than of a short one."""
    batches: list[weakref.ref[object]] = []
    alive = []
    synthesis = tiny.generator.synthesis

    def watched(*arguments: Any) -> Any:
        images = synthesis(*arguments)
        alive.append(sum(batch() is not None for batch in batches))
        batches.append(weakref.ref(images.untyped_storage()))
        return images

    monkeypatch.setattr(tiny.generator, "synthesis", watched)
    frames = walks(tiny, [[1, 2], [3, 4]], Motion(150))
    next(frames)
    assert len(batches) == 1
    assert sum(1 for _ in frames) == 299
    assert len(batches) == 120
    assert max(alive) <= 1


# ---- films


def film_size(path: Path) -> tuple[int, int, int]:
    with av.open(str(path)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    return (len(frames), *frames[0].shape[:2])


def test_a_film_says_its_origin_and_counts_its_frames(tiny: Sampler, tmp_path: Path) -> None:
    calls: list[None] = []
    path = tmp_path / "new" / "a.mp4"
    film = write_walks(
        path, tiny, range(4), Motion(3), rows=1, columns=2, fps=10, scale=2, psi=0.5, keys_text="0-3",
        wrote=lambda: calls.append(None),
    )  # fmt: skip
    assert (film.path, film.frames, film.seconds, len(calls)) == (path, 6, 0.6, 6)
    assert film_size(path) == (6, 16, 32)
    with av.open(str(path)) as container:
        comment = container.metadata["comment"]
    assert comment == '{"model": "tiny", "seeds": "0-3", "psi": 0.5, "synthetic": true}'


def test_a_film_is_enlarged_until_its_short_side_can_be_watched(tiny: Sampler, tmp_path: Path) -> None:
    write_walks(tmp_path / "a.mp4", tiny, range(4), Motion(1), rows=1, columns=2)
    assert film_size(tmp_path / "a.mp4") == (2, 256, 512)
    with pytest.raises(UsageError, match="scale 0: 1 to 32"):
        write_walks(tmp_path / "b.mp4", tiny, range(4), Motion(1), scale=0)


def test_a_film_that_is_too_large_is_refused_before_its_first_frame(
    tiny: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = spied(tiny, monkeypatch)
    with pytest.raises(UsageError, match="256x8448: a film is at most 8192"):  # 33 x 8 x 32
        write_walks(tmp_path / "a.mp4", tiny, range(66), Motion(1), rows=33, scale=32)
    assert given == []


def test_the_walks_of_a_film_stand_row_by_row(
    tiny: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films: list[list[Pixels]] = []

    def kept(path: Path, frames: Any, **_: Any) -> int:
        films.append(list(frames))
        return len(films[-1])

    monkeypatch.setattr("facegan.animation.write_film", kept)
    write_walks(tmp_path / "a.mp4", tiny, range(12), Motion(1), rows=3, columns=2, scale=1)
    first = films[0][0]
    keys = tiny.sample(range(0, 12, 2), psi=0.7)
    for number, key in enumerate(keys):
        row, column = divmod(number, 2)
        place = first[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        assert np.abs(place.astype(int) - key.astype(int)).max() <= 1


def test_the_command_makes_the_film_of_the_python_api(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", str(tiny_run), "--device", "cpu", "--seeds", "3-6", "--walks", "1x2", "--path", "w"]
    words += ["--easing", "none", "--no-loop", "--seconds-per-key", "0.5", "--fps", "8", "--scale", "2"]
    assert cli.run(["animate", *words, "--out", str(tmp_path / "a.gif"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {"path": str(tmp_path / "a.gif"), "frames": 5, "seconds": 0.625}
    sampler = Sampler(models.load(str(tiny_run)), device="cpu")
    motion = Motion(4, path="w", easing="none", loop=False)
    write_walks(tmp_path / "b.gif", sampler, range(3, 7), motion, columns=2, fps=8, scale=2, keys_text="3-6")
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_the_command_passes_latents_of_a_file_as_they_are(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sampler = Sampler(models.load(str(tiny_run)), device="cpu")
    rows = sampler.w(np.stack([latent(seed, 8) for seed in (4, 9)])).numpy()
    np.savez(tmp_path / "rows.npz", w=rows)
    words = ["--model", str(tiny_run), "--device", "cpu", "--latents", str(tmp_path / "rows.npz")]
    words += ["--seconds-per-key", "1", "--fps", "2", "--scale", "1", "--out", str(tmp_path / "a.gif")]
    assert cli.run(["animate", *words]) == 0
    assert "frames: 4" in capsys.readouterr().out
    with Image.open(tmp_path / "a.gif") as image:
        first = np.asarray(image.convert("RGB"))
    assert (
        np.abs(first.astype(int) - sampler.sample([4])[0].astype(int)).max() <= 1
    )  # 64 colours fit a palette


def test_a_held_seed_beside_w_of_a_file_is_truncated_as_any_seed_is(
    styled: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's w is as it is, at psi 1; the seed's is at 0.7, or what is asked for."""
    monkeypatch.setattr(models, "load", lambda name, **_: styled.model)
    given = spied(styled, monkeypatch)
    np.savez(tmp_path / "w.npz", w=np.zeros((2, styled.generator.num_ws, 6)))
    words = ["--mix", "7", "--styles", "2-3", "--latents", str(tmp_path / "w.npz"), "--scale", "1"]
    words += ["--seconds-per-key", "1", "--fps", "1", "--device", "cpu", "--out", str(tmp_path / "a.gif")]
    for more, psi, said in (([], 0.7, " at psi 0.7"), (["--psi", "1"], 1.0, "")):
        given.clear()
        assert cli.run(["animate", *words, *more]) == 0
        expected = styled.w(latent(7, styled.generator.z_dim)[None], psi)[:, 2:4].expand(2, -1, -1)
        torch.testing.assert_close(torch.cat([w for w, _ in given])[:, 2:4], expected)
        with Image.open(tmp_path / "a.gif") as image:
            assert json.loads(image.info["comment"])["seeds"] == f"w 0-1 of w.npz with layers 2-3 of 7{said}"


def test_the_command_holds_the_styles_of_a_seed(
    styled: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "load", lambda name, **_: styled.model)
    given = spied(styled, monkeypatch)
    words = ["--mix", "7", "--styles", "2-3", "--seeds", "1,2", "--seconds-per-key", "1", "--fps", "2"]
    assert cli.run(["animate", *words, "--device", "cpu", "--out", str(tmp_path / "a.gif")]) == 0
    assert "frames: 4" in capsys.readouterr().out
    w = torch.cat([w for w, _ in given])
    still = [bool((w[:, layer] == w[0, layer]).all()) for layer in range(styled.generator.num_ws)]
    assert still == [False, False, True, True, False, False]
    with Image.open(tmp_path / "a.gif") as image:
        assert json.loads(image.info["comment"])["seeds"] == "1,2 with layers 2-3 of 7"
