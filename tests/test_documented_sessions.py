"""The documentation's commands, run: page by page, in order, in a folder that holds what they name.

`SHORTER` is all that differs from what the pages say. What is not run stands in docs/checked-commands.md,
with how it was checked.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from asking import until
from documents import ROOT, Command, commands, pages
from lookalike_nvidia import official, pickled
from lookalike_tensorflow import pickled_networks, stylegan, tensorflow_pickle
from PIL import Image
from server_process import Process
from stand_in_hub import TOKEN, Hub
from test_hub import online, server  # noqa: F401
from test_interop_others import rosinality

from facegan import cli

CHECKED = "docs/checked-commands.md"
BLOCKS = {
    page: [command for command in commands(page, text) if command.is_block]
    for page, text in pages().items()
    if re.fullmatch(
        r"README\.md|docs/(?!tutorial|releasing|checked)[a-z0-9-]+\.md|facegan/zoo/[a-z0-9-]+\.md", page
    )
}
NAMED_ONLY = ("make", "pip")  # their targets and extras are looked up
SMALL_DCGAN = "--set model.resolution=16 --set model.g_base_channels=4 --set model.d_base_channels=4"
SMALL_STYLEGAN2 = (
    "--set model.resolution=16 --set model.z_dim=7 --set model.w_dim=6 --set model.channel_base=128 "
    "--set model.channel_max=12 --set batch=16 --set micro_batch=16 --set total_images=48"
)
SHORTER = [
    (r"--seeds 0-99999", "--seeds 0-99"),
    (r"--preset dcgan-64", rf"\g<0> {SMALL_DCGAN} --set total_images=384 --stop-after 0.01s"),
    (r"--preset (low-data|stylegan-64|stylegan2-64-tiny|stylegan2-64-small)", rf"\g<0> {SMALL_STYLEGAN2}"),
    (r"total_images=[23]0{6}", "total_images=48"),
    (r"measure.every_images=50000", r"measure.every_images=128 --set measure.features=random --data photos"),
    (r"--count [0-9]+", "--count 3 --workers 1"),
    (r"--data starter", "--data photos"),
    (r"--model stylegan2-64-tiny (--format (onnx|torch|web))", r"--model runs/other \1"),
    (r"^facegan evaluate .*", r"\g<0> --samples 100 --features random"),
    (r"^facegan invert .*", r"\g<0> --steps 3"),
]
# what a page takes for granted: the pictures and models of its reader
GIVEN = "low-data --data photos/ --out runs/other", "dcgan-64 --data photos/ --out runs/mine"
COPIES = {"runs/mine": ["runs/faces", "runs/dcgan-64"], "runs/other": ["runs/tiny"]}


def by_hand() -> dict[str, str]:
    """The commands of the table of checks, each with how it was checked."""
    found = {}
    for row in re.findall(r"^\| (`.*`) \|.*\| (.+) \|$", (ROOT / CHECKED).read_text(), re.MULTILINE):
        for code in re.findall(r"`([^`]+)`", row[0]):
            found |= {each.text: row[1] for each in commands(CHECKED, f"```\n{code}\n```")}
    return found


def left_out() -> list[Command]:
    """What is to be typed and no test here types."""
    typed = [command for found in BLOCKS.values() for command in found if not is_run(command)]
    return [command for command in typed if command.program not in NAMED_ONLY]


def is_run(command: Command) -> bool:
    ends = command.program == "facegan" and command.words[1] not in ("serve", "studio")
    is_whole = not command.is_open and command.text not in by_hand()
    return command.program == "curl" or (ends and is_whole)


def shortened(text: str) -> str:
    for longer, shorter in SHORTER:
        text = re.sub(longer, shorter, text)
    return text


def type_in(text: str) -> None:
    """Runs a `facegan` line; it ends well and leaves what it names."""
    words = shlex.split(shortened(text))[1:]
    leaves = "--out" in words and "--dry-run" not in words
    out = Path(words[words.index("--out") + 1]) if leaves else None
    if words[0] == "people":
        out = Path(words[1])
    if out is not None and words[0] in ("train", "people", "export") and "--resume" not in words:
        shutil.rmtree(out, ignore_errors=True)  # the lines of a page may be alternatives
        if out.is_file():
            out.unlink()
    assert cli.run(words) == 0, text
    assert out is None or out.exists(), f"{text}: no {out}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, _quiet_machine: None) -> Path:
    """A folder with what the pages name: pictures, sets, files of other code bases, runs."""
    folder = tmp_path_factory.mktemp("world")
    with zipfile.ZipFile(ROOT / "facegan" / "zoo" / "starter-64.zip") as starter:
        lines = starter.read("metadata.jsonl").decode().splitlines()[:128]
        names = [json.loads(line)["file_name"] for line in lines]
        for name in names:
            starter.extract(name, folder / "photos")
        with zipfile.ZipFile(folder / "people.zip", "w") as people:
            people.writestr("metadata.jsonl", "\n".join(lines))
            for name in names:
                people.writestr(name, starter.read(name))
    shutil.copytree(folder / "photos", folder / "other-program")
    shutil.copytree(folder / "photos", folder / "DATA")
    (folder / "faces").mkdir()
    sets = ("people-50k.zip", "people64-seed1.zip", "people64-seed1-25000.zip")
    for name in (*sets, "faces/shard-000.zip", "faces/shard-001.zip"):
        shutil.copy(folder / "people.zip", folder / name)
    for name, file in zip(("photo.png", "other.jpg"), names, strict=False):
        Image.open(folder / "photos" / file).save(folder / name)
    random = np.random.default_rng(0)
    with zipfile.ZipFile(folder / "celeba.zip", "w") as celeba:
        for number in range(128):
            with celeba.open(f"{number:06d}.jpg", "w") as file:
                Image.fromarray(random.integers(0, 256, (218, 178, 3), np.uint8)).save(file, "JPEG")
    for name in ("official.pkl", "ffhq.pkl", "network-snapshot-025000.pkl"):
        (folder / name).write_bytes(pickled(official()))
    (folder / "stylegan2-ffhq-config-f.pkl").write_bytes(tensorflow_pickle())
    (folder / "karras2019stylegan-ffhq-1024x1024.pkl").write_bytes(pickled_networks(*stylegan()))
    torch.save(rosinality(official(clamp=None)), folder / "550000.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in GIVEN:
            type_in(f"facegan train --preset {words}")
        for source, copies in COPIES.items():
            for copy in copies:
                shutil.copytree(source, copy)
    return folder


@pytest.fixture
def place(
    world: Path,
    tmp_path: Path,
    online: Hub,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A copy of that folder to work in, with a hub that has a model."""
    folder = tmp_path / "here"
    shutil.copytree(world, folder)
    online.add("owner/name", (folder / "runs/mine/model.safetensors").read_bytes())
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    runtime = folder / "onnxruntime-web"
    runtime.mkdir()
    for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        (runtime / name).write_bytes(b"stands in")
    monkeypatch.setenv("FACEGAN_ORT_WEB", str(runtime))
    monkeypatch.chdir(folder)
    return folder


SESSIONS = {
    page: [command.text for command in found if is_run(command) and command.program == "facegan"]
    for page, found in BLOCKS.items()
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
@pytest.mark.parametrize("page", [page for page, lines in SESSIONS.items() if lines])
def test_a_page_s_commands_work_in_their_order(
    page: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in SESSIONS[page]:
        type_in(line)
    assert capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_the_service_answers_the_lines_of_curl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("keys.txt").write_text("k" * 20)
    asking = [command for found in BLOCKS.values() for command in found if command.program == "curl"]
    assert len(asking) > 12
    servers: dict[str, Process] = {}
    job = ""
    try:
        servers["KEY"] = Process("--api-keys", "keys.txt", "--model", "dcgan-64")
        servers[""] = Process("--model", "stylegan2-64-tiny")
        for command in asking:
            server = servers["KEY" if "KEY" in command.text else ""]
            filled = FILLED | {"localhost:8000": server.url, "jobs/ID": f"jobs/{job}"}
            words = [filled_in(word, filled) for word in command.words]
            if command.text.endswith("/film"):
                until(lambda: '"done"' in ask(["curl", f"{servers[''].url}/v1/jobs/{job}"]))  # noqa: B023
            said = ask(words)
            if "/v1/animate" in command.text:
                job = json.loads(said)["id"]
            if "-o" in words:
                assert Path(words[words.index("-o") + 1]).stat().st_size > 100
            elif "DELETE" not in words:
                json.loads(said)
    finally:
        for each in servers.values():
            each.process.terminate()
            each.ended()


FILLED = {"KEY": "k" * 20, "...": ", ".join(["0.5"] * 126)}


def filled_in(word: str, filled: dict[str, str]) -> str:
    for name, value in filled.items():
        word = word.replace(name, value)
    return word


def ask(words: list[str]) -> str:
    """What curl prints; an answer of 400 and above is an error."""
    done = subprocess.run(
        [*words, "--silent", "--fail-with-body"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout
