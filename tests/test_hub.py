"""The hub: models in and out through huggingface-hub, against a stand-in that answers on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import stand_in_hub
import torch
from PIL import Image
from safetensors.torch import save
from stand_in_hub import TOKEN, Hub, Repository

import facegan
from facegan import cli, hub, models, publishing
from facegan.card import Card
from facegan.config import UsageError
from facegan.hub import HubName, parse
from facegan.images import read_provenance
from facegan.models import Model
from facegan.networks import build_generator
from facegan.networks.dcgan import DCGANConfig

# huggingface-hub 2.4 gives its connection a file in a deprecated way
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    with pytest.MonkeyPatch.context() as patch, stand_in_hub.running() as running:
        patch.setenv("no_proxy", "127.0.0.1")
        yield running


@pytest.fixture
def online(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """An empty hub, which the library takes for the one; its cache is empty, and nobody is logged in."""
    server.repositories, server.requests, server.commits = {}, [], []
    server.down = False
    from huggingface_hub import constants  # not before HF_HUB_OFFLINE is set, which it reads once

    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its store is not stood in for
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return server


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the model of an 8 px DCGAN; its card names no licence."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    folder.mkdir()
    config = DCGANConfig(resolution=8, z_dim=8, g_base_channels=4, d_base_channels=4)
    torch.manual_seed(0)
    card = Card(data="noise", images_seen=96)
    models.save(folder / "model.safetensors", Model(build_generator(config), config, card), torch.float32)
    return folder


@pytest.fixture
def small_model(run: Path) -> Model:
    return models.load(str(run))


@pytest.fixture
def model_bytes(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


# ---- in


def test_a_model_on_the_hub_makes_its_faces(online: Hub, model_bytes: bytes, small_model: Model) -> None:
    online.add("me/faces", model_bytes)
    sampler = facegan.load("hf://me/faces", device="cpu")
    assert sampler.model.name == "hf://me/faces"
    expected = facegan.Sampler(small_model, device="cpu").sample(range(3))
    assert np.array_equal(sampler.sample(range(3)), expected)


def test_a_revision_and_a_file_can_be_named(online: Hub, model_bytes: bytes) -> None:
    online.add("me/faces", model_bytes, "old/small.safetensors", "v1.0")
    assert models.find("hf://me/faces@v1.0/old/small.safetensors").read_bytes() == model_bytes
    with pytest.raises(UsageError, match=r"hf://me/faces@v2.*: me/faces has no revision 'v2'"):
        models.find("hf://me/faces@v2/old/small.safetensors")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("hf://a/b", HubName("a/b", None, "model.safetensors")),
        ("hf://a/b/", HubName("a/b", None, "model.safetensors")),
        ("hf://a-1/b.c@main", HubName("a-1/b.c", "main", "model.safetensors")),
        ("hf://a/b/x/y.safetensors", HubName("a/b", None, "x/y.safetensors")),
        ("hf://a/b@v1/y.safetensors", HubName("a/b", "v1", "y.safetensors")),
    ],
)
def test_names_have_these_parts(name: str, parts: HubName) -> None:
    assert parse(name) == parts


@pytest.mark.parametrize(
    "name",
    ["hf://", "hf://a", "hf://a/b/model.pkl", "hf://a/b/model.pt", "hf://a/../x.safetensors", "hf://a/b?c",
     "hf://a/b@/x.safetensors", "hf://a/b\n", "hf://\u0430/b"],
)  # fmt: skip
def test_other_names_and_other_kinds_of_files_are_not_asked_for(name: str, online: Hub) -> None:
    with pytest.raises(UsageError, match=r"expected hf://owner/name\[@revision\]\[/file\.safetensors\]"):
        models.find(name)
    assert online.requests == []


def test_what_is_cached_is_there_without_the_hub(
    online: Hub, model_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    online.add("me/faces", model_bytes)
    path = models.find("hf://me/faces")
    online.down = True
    assert models.find("hf://me/faces") == path
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    online.requests.clear()
    assert models.find("hf://me/faces") == path
    assert online.requests == []
    with pytest.raises(UsageError, match=r"hf://me/other': not in the cache.*offline mode"):
        models.find("hf://me/other")


def test_a_newer_version_is_taken(online: Hub, model_bytes: bytes, tmp_path: Path) -> None:
    online.add("me/faces", model_bytes)
    models.find("hf://me/faces")
    (tmp_path / "new.safetensors").write_bytes(model_bytes)
    models.rewrite_card(tmp_path / "new.safetensors", Card(data="new"))
    online.add("me/faces", (tmp_path / "new.safetensors").read_bytes())
    assert models.load("hf://me/faces").card.data == "new"


def test_what_is_not_there_and_what_is_closed_is_said(
    online: Hub, model_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    online.add("me/faces", model_bytes)
    with pytest.raises(
        UsageError, match=r"hf://me/face': no such model on the hub, or a private one.*HF_TOKEN"
    ):
        models.find("hf://me/face")
    with pytest.raises(UsageError, match=r"me/faces has no file 'other\.safetensors' there"):
        models.find("hf://me/faces/other.safetensors")
    online.repositories["me/faces"].gated = True
    with pytest.raises(
        UsageError, match=r"access on request: ask at https://huggingface.co/me/faces, then log"
    ):
        models.find("hf://me/faces")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert models.find("hf://me/faces").read_bytes() == model_bytes


def test_a_file_that_is_too_large_is_not_fetched(online: Hub, model_bytes: bytes) -> None:
    online.add("me/faces", model_bytes)
    online.repositories["me/faces"].claimed_size = 3 * 2**30
    with pytest.raises(UsageError, match="3,221,225,472 bytes; at most 2,147,483,648 are downloaded"):
        models.find("hf://me/faces")
    assert [request.split()[0] for request in online.requests] == ["HEAD"]


def test_a_file_that_is_no_model_is_refused(online: Hub) -> None:
    online.add("me/other", save({"x": torch.zeros(1)}))
    with pytest.raises(UsageError, match="a safetensors file, but not one of facegan's models"):
        models.load("hf://me/other")


# ---- out


@pytest.fixture
def pushed(online: Hub, run: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    publishing.push(str(run), "hf://me/faces", licence="CC0-1.0")
    return online


def test_a_push_is_one_commit_that_can_be_loaded(
    online: Hub,
    run: Path,
    small_model: Model,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    arguments = ["push", "hf://me/faces", "--model", str(run), "--licence", "CC0-1.0", "--data", "dots"]
    assert cli.run([*arguments, "--message", "First", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    commit = online.repositories["me/faces"].commit
    assert printed == {"model": "hf://me/faces", "commit": f"{online.url}/me/faces/commit/{commit}"}
    ((name, message, paths),) = online.commits
    assert (name, message) == ("me/faces", "First")
    assert set(paths) == {"model.safetensors", "README.md", "samples.jpg", "config.json"}
    loaded = models.load("hf://me/faces")
    assert loaded.card == replace(small_model.card, licence="CC0-1.0", data="dots")
    for key, tensor in small_model.generator.state_dict().items():
        assert torch.equal(loaded.generator.state_dict()[key], tensor)
    assert not online.repositories["me/faces"].private


def test_the_samples_are_the_faces_of_the_first_seeds(
    pushed: Hub, small_model: Model, tmp_path: Path
) -> None:
    path = tmp_path / "samples.jpg"
    path.write_bytes(pushed.repositories["me/faces"].files["main", "samples.jpg"])
    found = read_provenance(path)
    assert found is not None
    assert (found.model, found.seeds, found.psi) == ("me/faces", "0-63", 0.7)
    with Image.open(path) as image:
        assert image.size == (64, 64)  # 8 x 8 faces of 8 px
        made = np.asarray(image).astype(int)
    face = facegan.Sampler(small_model, device="cpu").sample([9], 0.7)[0].astype(int)
    assert np.abs(made[8:16, 8:16] - face).mean() < 12  # of a JPEG; another seed's differs by 40


def test_a_second_push_is_a_second_commit(pushed: Hub, run: Path) -> None:
    publishing.push(str(run), "hf://me/faces", licence="MIT")
    assert len(pushed.commits) == 2
    assert models.load("hf://me/faces").card.licence == "MIT"


def test_private_is_private_and_does_not_become_public_by_mistake(
    online: Hub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    publishing.push(str(run), "hf://me/secret", licence="MIT", private=True)
    assert online.repositories["me/secret"].private
    online.repositories["me/open"] = Repository()
    with pytest.raises(UsageError, match="hf://me/open: is there already, and public; leave out --private"):
        publishing.push(str(run), "hf://me/open", licence="MIT", private=True)
    assert len(online.commits) == 1


def test_without_a_token_or_with_a_wrong_one_nothing_goes_out(
    online: Hub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "stage", None)  # said before the samples are made
        with pytest.raises(UsageError, match="no token to write with; log in with `hf auth login`"):
            publishing.push(str(run), "hf://me/faces", licence="MIT")
    assert online.requests == []
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UsageError, match=r"the hub does not take it.*no right to write"):
        publishing.push(str(run), "hf://me/faces", licence="MIT")
    assert online.repositories == {}


def test_a_model_that_is_replaced_meanwhile_is_published_as_it_was(
    run: Path, small_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "model.safetensors"
    source.write_bytes((run / "model.safetensors").read_bytes())
    other = replace(small_model, card=Card(images_seen=192), generator=build_generator(small_model.config))
    sampled = facegan.Sampler.sample

    def sampled_while_it_trains(sampler: facegan.Sampler, *given: Any) -> Any:
        models.save(source, other, torch.float32)
        return sampled(sampler, *given)

    monkeypatch.setattr(facegan.Sampler, "sample", sampled_while_it_trains)
    files = publishing.stage(str(source), "hf://me/faces", tmp_path / "out", licence="MIT")
    staged = models.load(str(files[0]))
    assert staged.card.images_seen == 96
    for key, tensor in small_model.generator.state_dict().items():
        assert torch.equal(staged.generator.state_dict()[key], tensor)


def test_a_damaged_model_is_named_by_where_it_is(run: Path, tmp_path: Path) -> None:
    source = tmp_path / "cut.safetensors"
    source.write_bytes((run / "model.safetensors").read_bytes()[:-1])
    with pytest.raises(UsageError, match=rf"^{re.escape(str(source))}: not a usable safetensors file"):
        publishing.stage(str(source), "hf://me/faces", tmp_path / "out", licence="MIT")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("name", ["me/faces", "hf://me", "hf://me/faces@v1", "hf://me/faces/a.safetensors"])
def test_a_push_goes_to_a_whole_repository(name: str, run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected hf://owner/name"):
        publishing.stage(str(run), name, tmp_path / "out", licence="MIT")
    assert not (tmp_path / "out").exists()


def test_a_model_without_a_licence_is_not_published(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"its card names no licence.*--licence"):
        publishing.stage(str(run), "hf://me/faces", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dry_run_that_fails_leaves_nothing_and_can_be_tried_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "at").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "save", Mock(side_effect=OSError("No space left")))
        with pytest.raises(OSError, match="No space left"):
            publishing.stage(str(run), "hf://me/faces", tmp_path / "at" / "out", licence="MIT")
    assert list((tmp_path / "at").iterdir()) == []
    files = publishing.stage(str(run), "hf://me/faces", tmp_path / "at" / "out", licence="MIT")
    assert set(files) == set((tmp_path / "at" / "out").iterdir())


def test_a_dry_run_writes_the_same_files_and_asks_nobody(
    online: Hub, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["push", "hf://me/faces", "--model", str(run), "--licence", "MIT"]
    assert cli.run([*arguments, "--dry-run", str(tmp_path / "look")]) == 0
    assert str(tmp_path / "look" / "README.md") in capsys.readouterr().out
    written = {path.name for path in (tmp_path / "look").iterdir()}
    assert written == {"model.safetensors", "README.md", "samples.jpg", "config.json"}
    assert models.load(str(tmp_path / "look")).card.licence == "MIT"
    assert online.requests == []
    assert cli.run([*arguments, "--dry-run", str(tmp_path / "look")]) == 2
    assert "has files in it" in capsys.readouterr().err
    assert cli.run([*arguments, "--dry-run", str(tmp_path / "no"), "--private"]) == 2
    assert "have no effect with --dry-run" in capsys.readouterr().err


def test_pictures_with_alpha_become_a_jpeg_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DCGANConfig(resolution=8, z_dim=8, g_base_channels=4, d_base_channels=4, channels=4)
    path = tmp_path / "alpha.safetensors"
    models.save(path, Model(build_generator(config), config, Card(licence="MIT")))
    monkeypatch.setattr(publishing, "MAX_SIDE", 30)
    files = publishing.stage(str(path), "hf://me/alpha", tmp_path / "out")
    with Image.open(files[2]) as image:
        assert (image.mode, image.size) == ("RGB", (24, 24))  # 3 x 3 of 8 px are the most in 30
    text = files[1].read_text()
    assert "RGBA pictures of 8x8" in text
    assert "Seeds 0-8 at psi 0.7" in text


# ---- end to end


@pytest.mark.slow
def test_two_processes_push_and_generate(run: Path, tmp_path: Path) -> None:
    """The library reads HF_ENDPOINT itself, as it does for everybody."""
    with stand_in_hub.running() as running:
        environment = os.environ | {
            "HF_ENDPOINT": running.url,
            "HF_HUB_OFFLINE": "0",
            "no_proxy": "127.0.0.1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": TOKEN,
        }

        def command(*words: str) -> subprocess.CompletedProcess[str]:
            line = [sys.executable, "-m", "facegan", *words]
            return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)

        done = command("push", "hf://me/faces", "--model", str(run), "--licence", "MIT", "--private")
        assert done.returncode == 0, done.stderr
        assert running.repositories["me/faces"].private
        out = tmp_path / "faces"
        asked = ["generate", "--model", "hf://me/faces", "--seeds", "5", "--device", "cpu", "--out", str(out)]
        done = command(*asked)
        assert done.returncode == 0, done.stderr
        del environment["HF_TOKEN"]
        refused = command(*asked, "--seeds", "6")
        assert refused.returncode == 2
        assert refused.stderr.startswith(
            "facegan: model 'hf://me/faces': no such model on the hub, or a private"
        )
        assert refused.stderr.count("\n") == 1
    again = command(*asked, "--seeds", "7")  # the hub is gone: from the cache
    assert again.returncode == 0, again.stderr
    provenance = read_provenance(out / "seed0007.png")
    assert provenance is not None
    assert provenance.model == "hf://me/faces"


def test_the_stand_in_is_asked_by_the_real_library(online: Hub) -> None:
    """Its constants are patched, which would go unnoticed if they were renamed."""
    with pytest.raises(UsageError):
        hub.download("hf://me/nothing")
    assert online.requests == ["HEAD /me/nothing/resolve/main/model.safetensors"]
