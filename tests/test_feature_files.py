"""Files of features: unknown names, files that are something else, the cache, downloads."""

from __future__ import annotations

from pathlib import Path

import pytest
from stand_in_features import StandInInception, write_files, write_torchscript
from torch import Tensor, nn

from facegan.config import UsageError
from facegan.perception import features
from facegan.perception.features import extractor


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_files(tmp_path_factory.mktemp("features"))


# ---- names and files


class FewFeatures(StandInInception):
    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        return img.flatten(1)[:, :7]


class NoArgument(nn.Module):
    def forward(self, img: Tensor) -> Tensor:
        return img


@pytest.mark.parametrize("name", ["fid", "clean-fid"])
def test_what_is_not_torchscript_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "inception.pt"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(UsageError, match=r"inception\.pt: not a usable TorchScript file"):
        extractor(name, file=path)


@pytest.mark.parametrize(
    ("name", "module"),
    [("fid", NoArgument()), ("clean-fid", NoArgument()), ("fid", FewFeatures())],
    ids=["no return_features", "no layers", "7 features"],
)
def test_another_torchscript_module_is_refused(name: str, module: nn.Module, tmp_path: Path) -> None:
    path = write_torchscript(tmp_path / "other.pt", module)
    with pytest.raises(UsageError, match="not FID's Inception"):
        extractor(name, file=path)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'efficientnet'"):
        extractor("eficientnet")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"features 'fid': no file .*missing\.pt"):
        extractor("fid", file=tmp_path / "missing.pt")


@pytest.mark.parametrize("name", ["random", "pixels"])
def test_a_file_for_features_without_one_is_refused(name: str, files: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="made without a file"):
        extractor(name, file=files["fid"])


# ---- the cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of downloaded features, empty; there is no network."""

    def refuse(url: str, path: Path) -> None:
        raise UsageError(f"{url}: could not be downloaded (no network)")

    monkeypatch.setenv("FACEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "fetch", refuse)
    return tmp_path / "cache" / "features"


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        ("fid", "inception-2015-12-05.pt"),
        ("clean-fid", "inception-2015-12-05.pt"),
        ("dinov2", "dinov2_vitb14_pretrain.pth"),
    ],
)
def test_offline_the_error_says_where_a_file_would_go(name: str, file_name: str, cache: Path) -> None:
    with pytest.raises(UsageError, match="no network") as caught:
        extractor(name)
    assert f"put it at {cache / file_name}, or name it with --features-file PATH" in str(caught.value)
    assert not (cache / file_name).exists()


@pytest.mark.parametrize(
    ("name", "file_name"),
    [("fid", "inception-2015-12-05.pt"), ("dinov2", "dinov2_vitb14_pretrain.pth")],
)
def test_a_file_in_the_cache_is_used(name: str, file_name: str, cache: Path, files: dict[str, Path]) -> None:
    cache.mkdir(parents=True)
    (cache / file_name).write_bytes(files[name].read_bytes())
    assert extractor(name).protocol == extractor(name, file=files[name]).protocol
    assert [path.name for path in cache.iterdir()] == [file_name]  # not even a lock: it may be read-only


def test_a_download_goes_into_the_cache(
    cache: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By download.fetch: https alone, bounded, gone on with where it broke off."""
    asked = []

    def answer(url: str, path: Path) -> None:
        asked.append(url)
        path.parent.mkdir(parents=True)
        path.write_bytes(files["fid"].read_bytes())

    monkeypatch.setattr(features, "fetch", answer)
    extractor("fid")
    extractor("clean-fid")
    assert asked == [features.INCEPTION_URL]
    assert extractor("fid").protocol == extractor("fid", file=files["fid"]).protocol
