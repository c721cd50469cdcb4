"""The HTTP API's pictures: those of the library, saying what they are, in the form asked for."""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import json
import zipfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from asking import SECONDS, Ask, Held, until
from PIL import Image

from facegan import cli, models
from facegan.images import Pixels, read_provenance
from facegan.latents.direction_file import beside, read
from facegan.latents.directions import Directions, moved
from facegan.mixing import figure
from facegan.serve.guard import Headed
from facegan.synthesis import Sampler, latent


@pytest.fixture
def styled(served_models: tuple[Path, Path]) -> Sampler:
    return Sampler(models.load(str(served_models[0])), device="cpu")


def pixels(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def assert_same(data: bytes, expected: Pixels) -> None:
    """To one grey level, which is what a batch may change."""
    found = pixels(data)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def decoded(answer: Any) -> dict[str, bytes]:
    assert answer.status_code == 200, answer.text
    return {each["name"]: base64.b64decode(each["data"]) for each in answer.json()["pictures"]}


def test_a_seeds_face_is_the_one_that_generate_writes(
    ask: Ask, served_models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--seeds", "7", "--psi", "0.5", "--noise", "random", "--cutoff", "4", "--out", str(tmp_path)]
    assert cli.run(["generate", "--model", str(served_models[0]), *words]) == 0
    capsys.readouterr()
    answer = ask().get("/v1/faces/7.png?psi=0.5&noise=random&cutoff=4")
    assert answer.headers["content-type"] == "image/png"
    assert_same(answer.content, pixels((tmp_path / "seed0007.png").read_bytes()))
    (tmp_path / "served.png").write_bytes(answer.content)
    assert read_provenance(tmp_path / "served.png") == read_provenance(tmp_path / "seed0007.png")


def test_the_first_model_is_the_default_and_others_go_by_name(
    ask: Ask, styled: Sampler, served_models: tuple[Path, Path]
) -> None:
    server = ask()
    assert_same(server.get("/v1/faces/1.png").content, styled.sample([1], 0.7)[0])
    labelled = Sampler(models.load(str(served_models[1])), device="cpu")
    answer = server.get("/v1/faces/1.png?model=labelled&label=hat=fez")
    assert_same(answer.content, labelled.sample([1], 0.7, label="hat=fez")[0])


def test_models_are_listed_with_what_they_are(ask: Ask, served_models: tuple[Path, Path]) -> None:
    first, second = ask().get("/v1/models").json()
    assert (first["name"], first["default"], first["architecture"]) == ("styled", True, "stylegan2")
    assert (first["height"], first["layers"], first["z_dim"], first["w_dim"]) == (16, 6, 7, 6)
    assert (first["licence"], first["data"], first["images_seen"]) == ("CC0", "drawn people", 1000)
    assert first["directions"] == {"smile": [1, 2]}
    assert second["labels"] == {"hat": ["cap", "fez"]}
    assert (second["default"], second["noise"]) == (False, ["const"])
    assert str(served_models[0].parent) not in json.dumps(
        [first, second]
    )  # where files are is nobody's business


def test_a_size_is_the_longer_side(ask: Ask) -> None:
    answer = ask().get("/v1/faces/1.png?size=40")
    assert pixels(answer.content).shape == (40, 40, 3)


def test_a_new_face_says_its_seed_and_is_not_kept(ask: Ask, styled: Sampler) -> None:
    server = ask()
    answers = [server.get("/v1/face?psi=0.9") for _ in range(3)]
    assert len({answer.headers["x-seed"] for answer in answers}) == 3
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-model"] == "styled"
        assert_same(answer.content, styled.sample([int(answer.headers["x-seed"])], 0.9)[0])


# ---- HEAD


@pytest.mark.parametrize(
    "path",
    [
        "/v1/faces/3.png?size=40",
        "/v1/models",
        "/openapi.json",
        "/healthz",
        "/readyz",
        "/v1/faces/3.png?size=0",
    ],
)
def test_head_is_get_without_the_body(ask: Ask, path: str) -> None:
    server = ask()
    got, head = server.get(path), server.start("HEAD", path).result(SECONDS)
    assert head.content == b""
    assert head.headers["content-length"] == str(len(got.content))
    own = {"x-request-id"}
    assert head.status_code == got.status_code
    assert {n: v for n, v in head.headers.items() if n not in own} == {
        n: v for n, v in got.headers.items() if n not in own
    }


def test_a_body_is_not_passed_on_for_head() -> None:
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["method"] == "GET"
        await send(start)
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await send({"type": "http.response.body", "body": b"cd"})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "HEAD"}
    asyncio.run(Headed(app)(scope, cast(Any, None), send))
    assert sent[0] == start
    assert [message["body"] for message in sent[1:]] == [b"", b""]
    assert scope["method"] == "HEAD"  # uvicorn and the log look at it


def test_head_of_a_face_that_the_client_has_makes_nothing(ask: Ask) -> None:
    server = ask()
    tag = server.get("/v1/faces/3.png").headers["etag"]
    head = server.start("HEAD", "/v1/faces/3.png", headers={"If-None-Match": tag}).result(SECONDS)
    assert (head.status_code, head.content, head.headers["etag"]) == (304, b"", tag)
    pictures = server.service.counts.pictures
    until(lambda: list(pictures.lines())[-1] == 'facegan_pictures_total{model="styled"} 1')


def test_head_is_counted_with_its_route_and_is_for_what_get_is_for(ask: Ask) -> None:
    server = ask()
    for path in ("/v1/faces/1.png", "/v1/generate", "/nowhere"):
        server.start("HEAD", path).result(SECONDS)
    counted = list(server.service.counts.requests.lines())[2:]
    assert counted == [
        'facegan_requests_total{route="/v1/faces/{seed}.png",method="HEAD",status="200"} 1',
        'facegan_requests_total{route="/v1/generate",method="HEAD",status="405"} 1',
        'facegan_requests_total{route="other",method="HEAD",status="404"} 1',
    ]


# ---- memory


@pytest.mark.slow
def test_answered_requests_leave_nothing_behind(ask: Ask) -> None:
    """A server that has answered more holds no more objects of any kind."""
    server = ask()

    def held() -> Counter[type]:
        for seed in range(3):
            for path in (f"/v1/faces/{seed}.png", "/v1/face", "/v1/models", f"/v1/faces/{seed}.png?psi=x"):
                server.get(path)
            server.post("/v1/generate", {"seeds": [seed], "answer": "zip"})
            server.post("/v1/edit", {"seeds": [seed], "directions": {"smile": 1}})
            server.post("/v1/mix", {"rows": "1", "cols": str(seed)})
        until(lambda: not server.batcher().waiting)
        gc.collect()
        return Counter(type(each) for each in gc.get_objects())

    held()  # what is made at the first requests
    rounds = [held(), held(), held()]
    grown = [
        {kind for kind in after if after[kind] - before[kind] >= 3} for before, after in pairwise(rounds)
    ]
    assert grown[0] & grown[1] == set()  # nothing that comes with every seed, round by round


# ---- caches


def test_a_face_that_the_client_has_is_not_made_again(ask: Ask) -> None:
    server = ask()
    first = server.get("/v1/faces/3.png")
    tag = first.headers["etag"]
    assert tag.startswith('W/"')  # in another batch it may be a grey level off
    assert first.headers["cache-control"] == "public, max-age=3600"
    until(lambda: 'facegan_pictures_total{model="styled"} 1' in list(server.service.counts.pictures.lines()))
    for header in (tag, f'"x", {tag}', tag.removeprefix("W/"), "*"):
        again = server.get("/v1/faces/3.png", headers={"If-None-Match": header})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert server.get("/v1/faces/3.png", headers={"If-None-Match": '"x"'}).status_code == 200
    until(lambda: 'facegan_pictures_total{model="styled"} 2' in list(server.service.counts.pictures.lines()))


def test_an_etag_changes_with_all_that_changes_the_picture(
    ask: Ask, served_models: tuple[Path, Path], tmp_path: Path
) -> None:
    server = ask()
    queries = ["", "psi=0.6", "noise=none", "noise=random", "cutoff=2", "size=16", "size=17"]
    urls = [f"/v1/faces/3.png?{query}" for query in queries]
    urls += [
        "/v1/faces/4.png",
        "/v1/faces/3.png?model=labelled",
        "/v1/faces/3.png?model=labelled&label=hat=cap",
    ]
    tags = [server.get(url).headers["etag"] for url in urls]
    assert len(set(tags)) == len(urls)
    assert (
        ask(models=(str(served_models[0]),)).get(urls[0]).headers["etag"] == tags[0]
    )  # also of another process
    generator = models.load(str(served_models[0]))
    generator.generator.w_avg += 1
    changed = tmp_path / "styled.safetensors"
    models.save(changed, generator)
    assert ask(models=(str(changed),)).get(urls[0]).headers["etag"] not in tags


def test_faces_behind_a_key_are_not_for_shared_caches(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("k" * 20)
    answer = ask(api_keys=str(tmp_path / "keys")).get("/v1/faces/3.png", headers={"X-API-Key": "k" * 20})
    assert answer.headers["cache-control"] == "private, max-age=3600"


# ---- many


def test_generate_answers_seeds_of_text_or_list_each_once(ask: Ask, styled: Sampler) -> None:
    server = ask()
    for given in ("5,2-3,2", [5, 2, 3, 2]):
        made = decoded(server.post("/v1/generate", {"seeds": given, "psi": 0.8}))
        assert list(made) == ["seed0005.png", "seed0002.png", "seed0003.png"]
        for data, expected in zip(made.values(), styled.sample([5, 2, 3], 0.8), strict=True):
            assert_same(data, expected)


@pytest.mark.parametrize(("file_format", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
def test_each_picture_says_that_it_is_synthetic_in_each_format(
    ask: Ask, file_format: str, kind: str, tmp_path: Path
) -> None:
    body = {"seeds": [4], "format": file_format, "size": 24, "answer": "zip"}
    answer = ask().post("/v1/generate", body)
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        (name,) = archive.namelist()
        assert name == f"seed0004.{file_format}"
        archive.extractall(tmp_path)
    said = read_provenance(tmp_path / name)
    assert said is not None
    assert (said.synthetic, said.model, said.seeds, said.psi) == (True, "styled", "4", 0.7)
    assert b"trainedAlgorithmicMedia" in (tmp_path / name).read_bytes()
    with Image.open(tmp_path / name) as image:
        assert (image.format, image.size) == (kind, (24, 24))


def test_accept_chooses_a_zip_and_the_answer_field_comes_first(ask: Ask) -> None:
    server, header = ask(), {"Accept": "application/zip"}
    types = [
        server.post("/v1/generate", {"seeds": [1]} | more, headers=headers).headers["content-type"]
        for more, headers in (({}, {}), ({}, header), ({"answer": "json"}, header))
    ]
    assert types == ["application/json", "application/zip", "application/json"]


def test_generate_takes_latents_as_the_files_of_the_library_hold_them(ask: Ask, styled: Sampler) -> None:
    server = ask()
    z = np.stack([latent(seed, 7) for seed in (1, 2)])
    made = decoded(server.post("/v1/generate", {"latents": {"z": z.tolist(), "seeds": [1, 2]}}))
    assert list(made) == ["latent0000.png", "latent0001.png"]
    for data, expected in zip(made.values(), styled.sample([1, 2], 0.7), strict=True):
        assert_same(data, expected)
    w = styled.w(z, 0.4)
    rows = {"w": w.tolist(), "seeds": [1, 2]}
    made = decoded(server.post("/v1/generate", {"latents": rows, "noise": "random"}))
    for data, expected in zip(made.values(), styled.sample([1, 2], 0.4, "random"), strict=True):
        assert_same(data, expected)
    one_w_for_all_layers = decoded(server.post("/v1/generate", {"latents": {"w": w[:, 0].tolist()}}))
    for data, expected in zip(one_w_for_all_layers.values(), styled.sample([1, 2], 0.4), strict=True):
        assert_same(data, expected)


def test_edits_add_up_and_are_named_in_the_picture(
    ask: Ask,
    styled: Sampler,
    served_models: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("facegan.latents.directions.SAMPLES", 200)
    body = {"seeds": [3], "directions": {"smile": 1.5, "pca:0": -2}, "psi": 0.6}
    ((name, data),) = decoded(ask().post("/v1/edit", body)).items()
    given = read(beside(served_models[0]), styled.generator).directions
    known = Directions(styled, given=given)
    w = styled.w(latent(3, 7)[None], 0.6)
    expected = styled.images(moved(w, [(known.named("smile"), 1.5), (known.named("pca:0"), -2.0)]))[0]
    assert_same(data, expected)
    (tmp_path / name).write_bytes(data)
    said = read_provenance(tmp_path / name)
    assert said is not None
    assert said.edit == "smile=1.5 pca:0=-2"


def test_edits_act_on_the_layers_that_styles_names(
    ask: Ask, styled: Sampler, served_models: tuple[Path, Path]
) -> None:
    body = {"seeds": [3], "directions": {"smile": 3}, "styles": "4-5", "psi": 0.6}
    (data,) = decoded(ask().post("/v1/edit", body)).values()
    known = Directions(styled, given=read(beside(served_models[0]), styled.generator).directions)
    w = styled.w(latent(3, 7)[None], 0.6)
    assert_same(data, styled.images(moved(w, [(known.named("smile", [4, 5]), 3.0)]))[0])


def test_a_mixture_is_the_librarys_figure(ask: Ask, styled: Sampler, tmp_path: Path) -> None:
    body = {"rows": "0-1", "cols": [7, 8, 9], "styles": "coarse", "psi": 0.9, "noise": "random"}
    answer = ask().post("/v1/mix", body)
    assert answer.headers["content-type"] == "image/png"
    expected = figure(styled, [0, 1], [7, 8, 9], {"coarse": range(4)}, psi=0.9, noise="random")
    assert_same(answer.content, expected)
    (tmp_path / "mix.png").write_bytes(answer.content)
    said = read_provenance(tmp_path / "mix.png")
    assert said is not None
    assert said.seeds == "rows 0,1, columns 7,8,9, styles coarse of the columns"


def test_requests_at_the_same_time_share_a_batch(ask: Ask, styled: Sampler) -> None:
    server = ask()
    held = Held(server.batcher())
    first = server.start("GET", "/v1/face")
    assert held.reached.wait(SECONDS)
    faces = [server.start("GET", f"/v1/faces/{seed}.png?psi={0.1 * seed}") for seed in range(1, 5)]
    many = server.start("POST", "/v1/generate", json={"seeds": [8, 9]})
    until(lambda: server.batcher().waiting == 6)
    held.released.set()
    assert first.result(SECONDS).status_code == 200
    for seed, face in enumerate(faces, 1):
        assert_same(face.result(SECONDS).content, styled.sample([seed], 0.1 * seed)[0])
    assert len(decoded(many.result(SECONDS))) == 2
    assert held.batches == [1, 6]
