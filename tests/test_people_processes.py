"""`facegan people` in real processes: the same set whatever the workers, and signals lose little."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from drawn_people import draw_as, drawn, noise, partials, words

from facegan.people.draw import ONE_THREAD, draw_people


@pytest.fixture(autouse=True)
def _stand_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The renderer that draws noise."""
    if "really" not in request.node.name:
        draw_as(monkeypatch, noise)


STUB = """
import os, signal, sys, time, types
module = types.ModuleType("facegan.people.render")
def render(person, resolution):
    import numpy as np
    random = np.random.default_rng(person.seed)
    image = random.integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
    BODY
    return types.SimpleNamespace(image=image, landmarks=random.uniform(0, resolution, (68, 2)))
module.render = render
sys.modules["facegan.people.render"] = module
"""


def environment(folder: Path, body: str = "pass", start: str = "") -> dict[str, str]:
    """One in which every new process draws noise, and does something besides, there and at its start."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(STUB.replace("BODY", body) + start)
    return os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


def command(out: Path, **options: object) -> list[str]:
    return [sys.executable, "-m", "facegan", *words(out, **options)]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_the_set_does_not_depend_on_the_number_of_workers(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor on which of them is fast."""
    drawn(tmp_path / "one.zip", 40)
    body = "time.sleep(random.uniform(0, 0.02))"
    env = environment(tmp_path / "stub", body.replace("random", "np.random"))
    subprocess.run(command(tmp_path / "more.zip", count=40, workers=workers), env=env, check=True, timeout=60)
    assert (tmp_path / "more.zip").read_bytes() == (tmp_path / "one.zip").read_bytes()


@pytest.mark.slow
def test_every_worker_has_one_thread_whatever_the_environment_says(tmp_path: Path) -> None:
    body = f"""
    at = {str(tmp_path)!r} + "/pid-"
    with open(at + str(os.getpid()), "w") as file:
        file.write(" ".join(os.environ.get(name, "unset") for name in {ONE_THREAD!r}))
    import glob
    while len(glob.glob(at + "*")) < 3:  # each worker draws one
        time.sleep(0.01)
"""
    env = environment(tmp_path / "stub", body)
    for name in ONE_THREAD:
        env.pop(name, None)
    subprocess.run(command(tmp_path / "people.zip", workers=3), env=env, check=True, timeout=60)
    said = [path.read_text() for path in tmp_path.glob("pid-*")]
    assert said == ["1 1 1 1"] * 3


@pytest.mark.slow
def test_ctrl_c_while_workers_start_is_left_to_the_command(whole_set: bytes, tmp_path: Path) -> None:
    """Each of them gets it before it runs a line of facegan."""
    out = tmp_path / "people.zip"
    start = """
if "--multiprocessing-fork" in sys.orig_argv:
    os.kill(os.getpid(), signal.SIGINT)
"""
    env = environment(tmp_path / "stub", "time.sleep(0.1)", start)
    result = subprocess.run(
        command(out, workers=3), env=env, check=False, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert out.read_bytes() == whole_set


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_command_with_a_line(whole_set: bytes, tmp_path: Path) -> None:
    out = tmp_path / "people.zip"
    env = environment(tmp_path / "stub", "os.kill(os.getpid(), signal.SIGKILL)")
    result = subprocess.run(
        command(out, workers=2), env=env, check=False, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    assert "facegan: " in result.stderr.splitlines()[-1]
    assert "a worker process died" in result.stderr.splitlines()[-1]
    drawn(out)
    assert out.read_bytes() == whole_set


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_in_the_middle_loses_little_and_leaves_no_process(
    number: signal.Signals, workers: int, tmp_path: Path
) -> None:
    """Ctrl-C goes to all processes of a terminal, kill to one."""
    drawn(tmp_path / "whole.zip", 200)
    out = tmp_path / "people.zip"
    env = environment(
        tmp_path / "stub", f"time.sleep(0.02); open({str(tmp_path)!r} + f'/pid-{{os.getpid()}}', 'w')"
    )
    process = subprocess.Popen(
        command(out, count=200, workers=workers), env=env, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 30
    journal = partials(out)[1]
    pid_files = list[Path]()
    while len(pid_files) < workers or not journal.exists() or journal.read_bytes().count(b"\n") < 20:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        pid_files = list(tmp_path.glob("pid-*"))
    before = journal.read_bytes().count(b"\n") - 1
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 0, err
        assert b"go on with: facegan people" in err
        assert b"Traceback" not in err
    pids = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    assert len(pids) == workers
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a worker is still there"
        time.sleep(0.05)
    result = drawn(out, 200)
    assert result.new <= 200 - before
    assert out.read_bytes() == (tmp_path / "whole.zip").read_bytes()


@pytest.mark.slow
def test_a_worker_imports_no_torch() -> None:
    code = (
        "import sys, numpy as np, facegan.people.draw, facegan.people.labels, facegan.people.population;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_the_renderer_really_draws_the_same_set_in_two_processes(tmp_path: Path) -> None:
    for workers in (1, 2):
        drawn(tmp_path / f"{workers}.zip", 6, workers=workers)
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


@pytest.mark.slow
def test_landmarks_really_lie_on_the_face_in_the_68_point_layout(tmp_path: Path) -> None:
    """x right, y down, in pixels: brows above eyes above nose above mouth, the picture's left first."""
    draw_people(tmp_path / "people", count=8, resolution=32, seed=1, workers=1)
    lines = (tmp_path / "people" / "metadata.jsonl").read_text().splitlines()
    for labels in map(json.loads, lines):
        points = np.array(labels["landmarks"])
        groups = ((17, 22), (36, 42), (42, 48), (48, 60))
        brow, eye, other_eye, mouth = (points[start:end].mean(axis=0) for start, end in groups)
        assert brow[1] < eye[1] < points[30][1] < mouth[1] < points[8][1]
        assert eye[0] < mouth[0] < other_eye[0]
        assert points[0][0] < points[8][0] < points[16][0]
        # FFHQ's crop: its centre is between the eyes, a tenth of the way down to the mouth
        between = (eye + other_eye) / 2
        np.testing.assert_allclose(between + 0.1 * (mouth - between), 16, atol=2)
