"""Train: looks at the runs in a folder while they go on; it only reads what they write."""

from __future__ import annotations

import html
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from facegan.config import UsageError
from facegan.serve.studio.common import Common
from facegan.serve.studio.desk import Desk
from facegan.serve.studio.parts import AT_ONCE, QUIET, Shown, data_uri, follow, told, within
from facegan.training.curves import Chart, series_of
from facegan.training.plot import NOT_TERMS
from facegan.training.record import Record, distance_names, read_record
from facegan.training.templates import chart_html

EVERY_SECONDS = 3.0
QUIET_SECONDS = 600.0  # without a new line, after which a run is said to rest
MAX_RUNS = 200


def runs_in(folder: Path) -> list[str]:
    """The names of the runs in a folder, the one that wrote last first; "." where the folder is one."""
    if not folder.is_dir():
        return []
    found = ["."] if (folder / "run.json").is_file() else []
    found += [path.parent.name for path in folder.glob("*/run.json")]
    return sorted(found, key=lambda name: _changed(folder / name), reverse=True)[:MAX_RUNS]


def _changed(run: Path) -> float:
    """When a run wrote its log last, or began."""
    for name in ("log.jsonl", "run.json"):
        if (run / name).is_file():
            return (run / name).stat().st_mtime
    return 0.0


@dataclass(frozen=True)
class Seen:
    """What is seen of a run at one moment."""

    record: Record
    silent_seconds: float  # since it wrote its last line
    is_locked: bool  # a process holds the folder

    @property
    def images_per_second(self) -> float | None:
        """Of its last line."""
        return self.record.log[-1].get("images_per_second") if self.record.log else None

    @property
    def seconds_left(self) -> float | None:
        """Until its total, at its last speed; None where it is finished or has no speed."""
        rate = self.images_per_second
        left = self.record.run.total_images - self.record.images_seen
        return left / rate if rate and left > 0 else None

    @property
    def state(self) -> str:
        """In a word."""
        if self.record.finished:
            return "finished"
        return "is training" if self.is_locked and self.silent_seconds <= QUIET_SECONDS else "rests"


def _is_locked(run: Path) -> bool:
    """Whether a process trains in the folder; taken for granted where the system cannot say it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        with open(run / ".lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # given back with the file, at once
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def look(folder: Path, name: str, now: float | None = None) -> Seen:
    """A run of the folder, as it is now.

    Raises:
        UsageError: no such run, or its config is damaged.
    """
    if name not in runs_in(folder):
        raise UsageError(f"run {name[:60]!r}: not in {folder} any more")
    now = time.time() if now is None else now
    run = folder / name
    return Seen(read_record(run), max(now - _changed(run), 0.0), _is_locked(run))


def facts_html(seen: Seen) -> str:
    """Images seen, speed and time left, in a line, with a bar."""
    record, total = seen.record, seen.record.run.total_images
    done = min(record.images_seen / total, 1.0)
    parts = [
        f"<b>{html.escape(record.name)}</b> {seen.state}",
        f"{record.images_seen:,} of {total:,} images seen",
    ]
    if seen.images_per_second and not record.finished:
        parts.append(f"{seen.images_per_second:.0f} images a second")
    if seen.seconds_left is not None and seen.state == "is training":
        parts.append(f"{timedelta(seconds=round(seen.seconds_left))} left")
    parts.append(f"{timedelta(seconds=round(record.seconds))} of training")
    if record.damaged:
        parts.append("some lines of its files could not be read")
    return (
        f'<p class="facts">{" &middot; ".join(parts)}</p>'
        f'<div class="meter" role="progressbar" aria-label="images seen" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{100 * done:.0f}"><i style="width:{100 * done:.1f}%"></i></div>'
    )


def curves_html(record: Record) -> str:
    """Loss terms and distances over images seen."""
    if not record.log:
        return '<p class="quiet">No log line yet.</p>'
    end = float(max(record.images_seen, 1))
    names = list(dict.fromkeys(name for line in record.log for name in line if name not in NOT_TERMS))
    charts = [
        Chart("Losses", tuple(series_of(record.log, name) for name in names), end, from_zero=True),
        *(
            Chart(
                "Distance to the training pictures",
                (series_of(record.measurements, name),),
                end,
                may_be_log=True,
            )
            for name in distance_names(record.measurements)
        ),
    ]
    return f'<div class="charts">{"".join(chart_html(chart) for chart in charts)}</div>'


def sample_of(record: Record, number: int | None) -> tuple[int, Path] | None:
    """Images seen and file of a sample grid, where there are any; number None: the newest."""
    last = len(record.samples) - 1
    return record.samples[last if number is None else min(max(number, 0), last)] if record.samples else None


def sample_state(record: Record, number: int | None) -> str:
    """Changes when `sample_html` does: the grid's file and the time of its content."""
    found = sample_of(record, number)
    if found is None:
        return "none"
    try:
        return f"{found[1]} {found[1].stat().st_mtime_ns}"
    except OSError:
        return f"{found[1]} is gone"


def sample_html(record: Record, number: int | None) -> str:
    """A sample grid; None: the newest."""
    found = sample_of(record, number)
    if found is None:
        return '<p class="quiet">No sample grid yet; the run writes one now and then.</p>'
    images_seen, path = found
    try:
        data = path.read_bytes()
    except OSError:
        return '<p class="quiet">This grid is not there any more.</p>'
    kind = "image/png" if path.suffix == ".png" else "image/jpeg"
    return (
        f'<figure class="grid"><img src="{data_uri(kind, data)}" alt="Sample faces after {images_seen:,} '
        f'images">'
        f"<figcaption>after {images_seen:,} images</figcaption></figure>"
    )


# ---- the tab


def build(desk: Desk, common: Common) -> None:
    """The tab's content; its clock only runs while the tab is shown."""
    import gradio as gr

    clock = gr.Timer(EVERY_SECONDS, active=False)
    nothing = (
        f"No runs in `{desk.runs}` yet. A training run started in the terminal shows up here, and can be "
        "watched while it learns:\n\n```\nfacegan train --preset stylegan2-64-tiny --out "
        f"{desk.runs / 'faces'}\n```\n\nFor another folder, start the studio with `--runs DIR`."
    )
    empty = gr.Markdown(nothing)
    with gr.Column(visible=False) as all_of_it:
        with gr.Row():
            run = gr.Dropdown([], label="Run", interactive=True, min_width=200)
            at = gr.Slider(
                0, 1, 1, step=1, label="Sample grid, oldest to newest", visible=False, min_width=200
            )
        facts = gr.HTML("", elem_id="facts", apply_default_css=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=300):
                sample = gr.HTML("", elem_id="sample", apply_default_css=False)
            with gr.Column(scale=3, min_width=320):
                curves = gr.HTML("", elem_id="curves", apply_default_css=False)

    def grid(record: Record, number: int, known: str) -> Shown:
        """The sample grid where the page has another one, and what it has then."""
        state = sample_state(record, number)
        return {on_page: state} | ({} if state == known else {sample: sample_html(record, number)})

    def show(name: str | None, number: float, last_seen: float, known: str) -> Shown:
        """The run as it is now; the newest grid, unless an older one is being looked at."""
        names = runs_in(desk.runs)
        if not names:
            return {empty: gr.update(visible=True), all_of_it: gr.update(visible=False)}
        name = name if name in names else names[0]
        seen = look(desk.runs, name)
        last = max(len(seen.record.samples) - 1, 0)
        number = within(number, 0, last_seen)
        place = int(number) if number < last_seen else last
        whole = {empty: gr.update(visible=False), all_of_it: gr.update(visible=True)}
        asked_for = {
            run: gr.update(choices=names, value=name),
            at: gr.update(maximum=max(last, 1), value=place, visible=last > 0),
            newest: last,
        }
        told_of = {facts: facts_html(seen), curves: curves_html(seen.record)}
        return whole | asked_for | told_of | grid(seen.record, place, known)

    def show_other(name: str) -> Shown:
        return show(name, 0, 0, "")

    def show_grid(name: str | None, number: float, known: str) -> Shown:
        if not name:
            return {}
        record = look(desk.runs, name).record
        return grid(record, int(within(number, 0, len(record.samples))), known)

    newest = gr.State(0)  # the number of the newest grid of the page's run
    on_page = gr.State("")  # the state of the grid on the page: it is sent again when it has changed
    shows = [empty, all_of_it, run, at, facts, curves, sample, on_page, newest]
    asked = [run, at, newest, on_page]
    # also while a number is being typed that gradio's slider would refuse
    clock.tick(told(show), asked, shows, preprocess=False, **QUIET)
    common.shown("train").select(told(show), asked, shows, **QUIET)
    run.input(told(show_other), [run], shows, **QUIET)
    follow(at, told(show_grid), [run, at, on_page], [sample, on_page], AT_ONCE)
    common.tab.change(lambda tab: gr.Timer(active=tab == "train"), [common.tab], [clock], **QUIET)
