"""What commands print is written for people, and with --json for programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facegan import cli, terminal
from facegan.cli.options import print_result
from facegan.config import UsageError
from facegan.interop.agreement import Agreement, result_of
from facegan.metrics.evaluate import measure
from facegan.metrics.subjects import opened, pictures_subject

RESULT = {"finished": False, "mirrored": True, "best_distance": None, "images_seen": 0, "psi": 1.0}


def test_people_read_yes_no_and_none(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(RESULT, as_json=False)
    lines = ["finished: no", "mirrored: yes", "best_distance: none", "images_seen: 0", "psi: 1.0"]
    assert capsys.readouterr().out.splitlines() == lines


def test_programs_read_what_json_has_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(RESULT, as_json=True)
    assert json.loads(capsys.readouterr().out) == RESULT


def test_report_prints_its_result_in_these_words(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["report", str(tiny_run), "--out", str(tmp_path / "report.html")]) == 0
    said = capsys.readouterr().out
    assert "finished: yes" in said
    assert "best_distance: none" in said


@pytest.mark.parametrize("difference", [2.1834253661121468e-06, 0.0123456, 0.0])
def test_an_export_s_difference_has_two_digits(difference: float) -> None:
    said = result_of(Path("a.pt2"), 10, Agreement(difference, 1))
    assert said == {"path": "a.pt2", "bytes": 10, "difference": said["difference"], "grey_levels": 1}
    assert len(f"{said['difference']:.15g}".partition("e")[0].replace(".", "").lstrip("0")) <= 2
    assert said["difference"] == pytest.approx(difference, rel=0.05)


def test_a_direction_s_layers_are_listed_as_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["edit", "--list", "--model", "stylegan2-64-tiny"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["yaw"].startswith("layers 0-3; ")  # as tools/fit_directions.py fits it: coarse
    assert re.match(r"layers \d-\d; ", lines["smile"])


# ---- evaluations of few pictures


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 pictures of 8x8 pixels, and 4 of them again in few/four."""
    folder = tmp_path_factory.mktemp("few")
    (folder / "four").mkdir()
    for number in range(150):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
        if number < 4:
            Image.fromarray(pixels).save(folder / "four" / f"{number:03d}.png")
    return folder


def refused(folder: Path, samples: int) -> str:
    """What `facegan evaluate --pictures FOLDER --samples N` says, in the words of its one error."""
    subject = pictures_subject(opened(str(folder), "center", size=(8, 8), channels=3))
    with pytest.raises(UsageError) as caught:
        measure(subject, str(folder), features="pixels", samples=samples)
    return str(caught.value)


def test_four_pictures_are_told_how_many_are_sensible_not_to_ask_for_four(few: Path) -> None:
    said = refused(few / "four", 10_000)
    assert said.startswith("four: 4 usable pictures; at least 100 to measure with")
    assert "fewer give no meaningful distance, and 2,000 or more are usual" in said
    assert "--samples 4" not in said


def test_four_samples_are_told_how_many_are_sensible(few: Path) -> None:
    said = refused(few, 4)
    assert said == "samples 4: at least 100; fewer give no meaningful distance, and 2,000 or more are usual"


def test_a_set_that_is_smaller_than_usual_is_told_so_beside_what_it_has(few: Path) -> None:
    assert refused(few, 10_000).endswith("it has 154; --samples 154, though 2,000 or more are usual")


# ---- stages of long work, without a terminal


def test_each_stage_is_told_as_it_begins_and_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock: at the beginning, then at each call."""
    clock = iter([0.0, 1.0, 2.0, 10.9, 11.0, 11.5, 12.0])
    monkeypatch.setattr(terminal, "monotonic", lambda: next(clock))
    with terminal.stages() as advance:
        for done in (64, 128, 192, 256, 1000):
            advance("samples of m", done, 1000)
        advance("distances", 0, 3)
    assert capsys.readouterr().err.splitlines() == [
        "samples of m: 64 of 1,000",
        "samples of m: 256 of 1,000",
        "distances: 0 of 3",
        "seconds: samples of m 11.5, distances 0.5",
    ]


def test_a_stage_of_unknown_length_tells_no_total(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.stages() as advance:
        advance("download", 1900, 0)
    assert capsys.readouterr().err.splitlines()[0] == "download: 1,900"
