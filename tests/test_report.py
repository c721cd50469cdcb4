"""The page about a run: all that the folder holds is on it, escaped, in one file that asks for nothing."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import chromium, needs_chromium

from facegan import cli
from facegan.config import UsageError
from facegan.images import save
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.presets import preset
from facegan.run import Intervals, Run
from facegan.training.curves import short
from facegan.training.film_strip import FILM_BYTES, film
from facegan.training.loop import train
from facegan.training.machine import machine
from facegan.training.record import nearest_preset, read_record, settings
from facegan.training.report import write_report
from facegan.training.report_page import page
from facegan.training.run_folder import RunFolder


class Reader(HTMLParser):
    """The words of a page, its addresses, and whether its tags close in order."""

    VOID = ("meta", "img", "input", "br", "path")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")
        ]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] not in (["script"], ["style"]) and data.strip():
            self.words.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(self.words)


def written(folder: Path, **lines: Iterable[Any]) -> None:
    """Appends the lines to files of the run folder: objects as JSON, texts as they are."""
    for name, values in lines.items():
        with open(folder / f"{name}.jsonl", "a") as file:
            file.writelines(
                (value if isinstance(value, str) else json.dumps(value)) + "\n" for value in values
            )


@pytest.fixture
def fresh(tmp_path: Path, tiny_run_config: Run) -> Path:
    """A run that has only just begun."""
    folder = RunFolder(tmp_path / "run")
    folder.start(tiny_run_config, {"name": "faces", "pictures": 24})
    return folder.path


@pytest.fixture
def copied(tmp_path: Path, tiny_run: Path) -> Path:
    """A copy of the tiny run, to be changed."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


# ---- what is on the page


def test_a_page_shows_the_run_s_numbers(tiny_run: Path) -> None:
    record = read_record(tiny_run)
    text = Reader(page(record)).text
    for word in ("tiny", "DCGAN at 8 px", "24 pictures", "96", "finished", "D_real", "G_fake", "images/s"):
        assert word in text
    last = record.log[-1]
    assert f"D_real {short(last['D_real'])}" in text


def test_every_setting_is_on_the_page(tiny_run: Path, tiny_run_config: Run) -> None:
    words = Reader(page(read_record(tiny_run))).words
    for name in settings(tiny_run_config):
        assert name.rpartition(".")[2] in words


def test_a_run_that_has_only_just_begun_has_a_page(fresh: Path) -> None:
    text = Reader(page(read_record(fresh))).text
    assert "No sample grid yet" in text
    assert "No log line yet" in text
    assert "24 pictures of faces" in text


def test_one_log_line_is_a_curve_of_one_point(fresh: Path) -> None:
    written(fresh, log=[{"images_seen": 32, "seconds": 1.0, "images_per_second": 32.0, "D_real": 0.7}])
    assert "D_real 0.7" in Reader(page(read_record(fresh))).text


@pytest.mark.parametrize("names", [("D_real", "D_fake", "G_fake"), ("D_pair", "G_pair")])
def test_the_losses_of_the_two_players_share_a_chart(fresh: Path, names: tuple[str, ...]) -> None:
    terms = dict.fromkeys(names, 0.7) | {"D_r1": 0.1}
    written(fresh, log=[{"images_seen": 32, "seconds": 1.0, "images_per_second": 32.0} | terms])
    text = page(read_record(fresh))
    charts = [each.split("</figcaption>")[0] for each in text.split("<figcaption>")[1:]]
    (shared,) = (chart for chart in charts if "Adversarial losses" in chart)
    assert all(f"{name} <b>" in shared for name in names)
    assert "D_r1" not in shared


@pytest.mark.parametrize(
    "damage", ['{"images_seen": 9', "[1]", '{"images_seen": 5, "seconds": NaN}', '{"a": 1}']
)
def test_a_damaged_line_is_left_out_and_counted(copied: Path, damage: str) -> None:
    whole = read_record(copied)
    written(copied, log=[damage], events=[damage], starts=[damage])
    record = read_record(copied)
    assert (record.log, record.events, record.starts) == (whole.log, (), whole.starts)
    assert record.damaged == {"log.jsonl": 1, "events.jsonl": 1, "starts.jsonl": 1}
    assert "log.jsonl: 1" in Reader(page(record)).text


def test_a_file_without_a_clock_may_say_anything_of_images_seen(copied: Path) -> None:
    odd = [{"file_name": "a.png", "reason": "cut off", "images_seen": seen} for seen in ("x", None, 1e99)]
    written(copied, skipped=odd)
    record = read_record(copied)
    assert (len(record.skipped), record.damaged) == (3, {})
    written(copied, events=[{"images_seen": 10**40, "event": "a", "text": "b"}])
    assert read_record(copied).damaged == {"events.jsonl": 1}


def test_a_line_may_hold_what_only_some_take_for_the_end_of_a_line(fresh: Path) -> None:
    """U+2028 in JSON is a character like others; to count lines and to read them is one thing."""
    (fresh / "log.jsonl").write_text(
        '{"images_seen": 32, "seconds": 1.0, "a\u2028b": 0.5}\n{"images_seen": 64, "seconds": 2.0}\n'
    )
    record = read_record(fresh)
    assert [line["images_seen"] for line in record.log] == [32, 64]
    assert record.damaged == {}


def test_events_and_skipped_pictures_are_told(copied: Path) -> None:
    event = {"images_seen": 64, "event": "collapse", "text": "samples look alike"}
    skipped = [{"file_name": f"{number}.png", "reason": "cut off"} for number in range(45)]
    written(copied, events=[event], skipped=skipped)
    html = page(read_record(copied))
    text = Reader(html).text
    assert "64 images collapse: samples look alike" in text
    # on every chart, at 64 of 96 images
    marks = re.findall(r'class="mark" d="M([\d.]+) 0V300"><title>collapse: samples look alike', html)
    assert marks == ["666.7"] * html.count('class="chart"')
    assert "45 left out" in text
    assert "and 5 more in skipped.jsonl" in text


def test_measurements_are_told_with_their_intervals_and_the_best_is_marked(copied: Path) -> None:
    lines = [
        {"images_seen": seen, "FD-random": value, "samples": 500, "low": value - 0.25, "high": value + 0.25}
        for seen, value in ((32, 9.5), (64, 4.5), (96, 6.5))
    ]
    written(copied, metrics=lines)
    html = page(read_record(copied))
    assert "Best FD-random 4.5 after 64 images" in Reader(html).text
    (best,) = re.findall('<tr class="best">(.*?)</tr>', html)
    assert Reader(best).words == ["64", "4.50", "4.25 to 4.75", "500"]


def test_texts_from_files_are_escaped(tmp_path: Path, fresh: Path) -> None:
    evil = "<script>alert(1)</script>&\"'"
    folder = RunFolder(fresh.rename(tmp_path / "a<b>&'c\""))
    config = folder.read_config()
    folder.write_config(replace(config, data=replace(config.data, path=evil)))
    written(
        folder.path,
        log=[{"images_seen": 1, "seconds": 1, evil: 0.5}],
        metrics=[{"images_seen": 1, evil: 2.0, "samples": 1}],
        events=[{"images_seen": 1, "event": evil, "text": evil}],
        skipped=[{"file_name": evil, "reason": evil}],
        starts=[{"images_seen": 0, "at": evil, "data": {"name": evil}, "machine": {evil: evil}}],
    )
    reader = Reader(page(read_record(folder.path)))
    assert reader.tags.count("script") == 1  # the page's own
    assert reader.text.count(evil) >= 8
    assert "a<b>&'c\"" in reader.words


def test_the_page_asks_for_nothing(copied: Path) -> None:
    html = page(read_record(copied))
    addresses = Reader(html).addresses
    assert addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in addresses)
    assert not re.search(r"https?:|url\(|@import|<link|fetch\(|XMLHttp", html)
    assert "default-src 'none'" in html


# ---- starts


def test_a_start_notes_the_data_and_the_machine(tiny_run: Path) -> None:
    (start,) = read_record(tiny_run).starts
    assert (start["images_seen"], start["data"]["pictures"]) == (0, 24)
    assert start["machine"] == machine()
    assert start["machine"].keys() >= {"processor", "cores", "threads", "torch", "facegan", "python"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", start["at"])


def test_a_resume_is_noted_with_what_changed(tmp_path: Path, tiny_run_config: Run) -> None:
    train(tiny_run_config, tmp_path / "run", stop_requested=lambda: True)
    (start,) = read_record(tmp_path / "run").starts
    other = start | {"machine": start["machine"] | {"torch": "2.6.0"}}
    (tmp_path / "run" / "starts.jsonl").write_text(json.dumps(other) + "\n{cut")
    train(tiny_run_config, tmp_path / "run", resume=True)
    record = read_record(tmp_path / "run")
    assert [line["images_seen"] for line in record.starts] == [0, 16]
    assert record.damaged == {"starts.jsonl": 1}
    assert re.search(r"16 images resumed on .* UTC, now with torch", Reader(page(record)).text)


def test_a_run_of_an_older_version_has_a_page(copied: Path) -> None:
    (copied / "starts.jsonl").unlink()
    assert "did not note its machine" in Reader(page(read_record(copied))).text


@pytest.mark.parametrize(
    "place",
    ["images_seen", "at", "data", "machine", "data.name", "data.pictures", "data.key", "machine.torch"],
)
def test_damaged_starts_cost_a_line_and_not_the_page(fresh: Path, place: str) -> None:
    """A value of the line is something else, before and after a line that is whole."""
    written(fresh, log=[{"images_seen": 32, "seconds": 1.0, "D_real": 0.7}])  # its chart shows the starts
    (whole,) = read_record(fresh).starts
    texts = ["", "<evil>", "\ud800", "\0", "x" * 9999]
    numbers = [True, 7, -3, 1.5, math.inf, math.nan, 10**4000]
    group, _, name = place.rpartition(".")
    for value in (None, *numbers, *texts, [], [1, None], {}, {"a": None}):
        line = whole | {group: whole[group] | {name: value}} if group else whole | {name: value}
        for lines in ([line, whole], [whole, line]):
            (fresh / "starts.jsonl").write_text("")
            written(fresh, starts=lines)
            record = read_record(fresh)
            assert whole in record.starts
            html = page(record)
            assert "<evil>" not in html
            assert html.encode()


@pytest.mark.parametrize("name", [7, None, ["faces"], {"a": 1}])
def test_a_name_of_the_data_that_is_none_is_that_of_the_config(fresh: Path, name: Any) -> None:
    (whole,) = read_record(fresh).starts
    written(fresh, starts=[whole | {"data": {"name": name, "pictures": 24}}])
    record = read_record(fresh)
    assert f"24 pictures of {Path(record.run.data.path).name}" in Reader(page(record)).text


def test_a_file_name_that_is_not_utf_8_is_told_as_far_as_it_is(copied: Path, tmp_path: Path) -> None:
    written(copied, skipped=[{"file_name": os.fsdecode(b"a\xff.png"), "reason": "cut off"}])
    write_report(copied, tmp_path / "report.html")
    assert "a?.png" in Reader((tmp_path / "report.html").read_text()).words


# ---- settings


def test_a_preset_is_nearest_to_itself() -> None:
    for name in ("dcgan-64", "stylegan-128", "stylegan2-64-tiny", "low-data"):
        settled = replace(preset(name).run, device="cpu", precision="fp32", compile="no")
        assert nearest_preset(settled) == (name, {})


def test_differences_to_the_nearest_preset_are_the_preset_s_values(fresh: Path) -> None:
    run = preset("dcgan-64").run
    run = replace(run, batch=64, micro_batch=64, optimizer=replace(run.optimizer, lr=0.001))
    assert nearest_preset(run) == ("dcgan-64", {"batch": 128, "optimizer.lr": 0.0002})
    RunFolder(fresh).write_config(run)
    text = Reader(page(read_record(fresh))).text
    assert "The closest preset is dcgan-64 ; its 2 differences are marked" in text
    assert "lr 0.001 preset: 0.0002" in text


def test_settings_of_the_preset_that_the_run_has_not_are_counted_apart(fresh: Path) -> None:
    """Those of its growth, where the run does not grow: there is no place to mark them."""
    run = preset("stylegan2-64-tiny").run
    assert isinstance(run.model, StyleGAN2Config)
    run = replace(run, model=replace(run.model, grows=False), growth=None)
    RunFolder(fresh).write_config(run)
    html = page(read_record(fresh))
    assert html.count('<tr class="changed">') == 1
    assert "its one difference is marked; 5 of its settings are not in this run" in Reader(html).text


def test_a_page_to_be_handed_on_says_no_folder_of_its_maker(fresh: Path, tiny_run_config: Run) -> None:
    own = Path("/home/somebody/secret")
    run = replace(tiny_run_config, init=str(own / "old.safetensors"))
    run = replace(run, data=replace(run.data, path=str(own / "faces")))
    RunFolder(fresh).write_config(run)
    html = page(read_record(fresh))
    assert "secret" not in html
    assert "path faces" in Reader(html).text
    assert "init old.safetensors" in Reader(html).text
    RunFolder(fresh).write_config(replace(run, init="hf://owner/name"))
    assert "init hf://owner/name" in Reader(page(read_record(fresh))).text


def test_a_run_unlike_all_presets_has_no_nearest() -> None:
    run = preset("stylegan2-config-f").run
    strange = dict.fromkeys(("r1_gamma", "r2_gamma", "path_length_weight", "path_length_decay"), 0.5)
    far = replace(run, loss=replace(run.loss, **strange), augment=preset("low-data").run.augment)
    far = replace(far, intervals=Intervals(1, 2, 3, 4), batch=8, micro_batch=4)
    assert nearest_preset(far) is None


# ---- a long run


@pytest.mark.slow
def test_a_long_run_of_large_pictures_has_a_page_of_at_most_6_mb(
    tmp_path: Path, tiny_run_config: Run
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start(tiny_run_config)
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (1024, 1024, 3), dtype=np.uint8)  # no picture is harder to pack
    for moment in range(45):
        save(folder.samples / f"{moment:09d}.jpg", np.roll(noise, moment, axis=0))
    line = {"seconds": 1.0, "images_per_second": 88.0, "D_real": 0.51234, "D_fake": 0.6789, "G_fake": 1.2345}
    written(folder.path, log=[line | {"images_seen": 2560 * k} for k in range(10_000)])
    frames, _ = film(read_record(folder.path).samples)
    assert len(frames) == 40
    assert sum(len(frame.address) for frame in frames) * 3 / 4 <= FILM_BYTES
    assert len(page(read_record(folder.path))) <= 6_000_000


# ---- the command


def test_the_command_writes_into_the_run_and_prints_what_it_found(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["report", str(copied), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["report"] == str(copied / "report.html")
    assert (result["images_seen"], result["finished"], result["best_distance"]) == (96, True, None)
    assert (copied / "report.html").read_text().startswith("<!doctype html>")


def test_the_page_can_be_written_elsewhere(tiny_run: Path, tmp_path: Path) -> None:
    assert cli.run(["report", str(tiny_run), "--out", str(tmp_path / "new" / "a.html")]) == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.html"]


def test_a_folder_without_a_run_is_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["report", str(tmp_path)]) == 2
    assert "no run here (no run.json)" in capsys.readouterr().err


def test_a_page_is_not_called_a_pdf(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a page, whose name ends in \.html"):
        write_report(tiny_run, tmp_path / "page.pdf")


def test_a_damaged_config_is_wrong_use(copied: Path) -> None:
    (copied / "run.json").write_text("{")
    with pytest.raises(UsageError, match=r"run\.json: not usable"):
        write_report(copied)
    assert not (copied / "report.html").exists()


# ---- in a browser

LINES_OF_EACH = """
(all) => all.map((element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    return range.getClientRects().length;
})
"""


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_shows_the_page_and_asks_for_nothing(
    tiny_run: Path, tmp_path: Path, width: int, scheme: Any
) -> None:
    out = tmp_path / "report.html"
    write_report(tiny_run, out)
    said: list[str] = []
    requests: list[str] = []
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(out.as_uri())
        assert tab.title() == "tiny - a facegan run"
        tab.locator(".area").first.hover()
        assert "images\nD_real" in (tab.locator(".pointer p").first.text_content() or "")
        slider = tab.locator(".film input")
        assert tab.locator(".frame.shown figcaption").text_content() == "96 images"
        slider.fill("0")
        assert tab.locator(".frame.shown figcaption").text_content() == "48 images"
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert set(tab.locator(".groups th").evaluate_all(LINES_OF_EACH)) == {1}  # no name is broken
    assert said == []
    assert {url for url in requests if not url.startswith("data:")} == {out.as_uri()}
