"""Many drawn people into a zip or folder, with labels, in several processes.

    draw_people("people.zip", count=50_000, resolution=64)     stopped or killed: the same call goes on

Person i of seed s is Person.numbered(s, i): a function of both alone. What is
written depends neither on the number of workers nor on how often it was broken off; see picture_set.py.
"""

from __future__ import annotations

import importlib.util
import io
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import zipfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facegan import __version__
from facegan.config import Json, UsageError, choose, differences, how_to_install, parse_json
from facegan.cores import usable_cores
from facegan.files import require_writable
from facegan.people.person import RESOLUTIONS
from facegan.people.picture_set import UNREADABLE, PictureSet, check_name, clear_leftovers, growing

Progress = Callable[[int, int], None]  # (pictures that are there, pictures in all)
Drawing = tuple[bytes, bytes]  # an encoded picture, and its labels: a line of JSON

MAX_COUNT = 10_000_000
MAX_SEED = 2**63 - 1
MAX_WORKERS = 61 if sys.platform == "win32" else 256  # Windows waits for no more processes at a time
FORMATS = ("png", "webp", "jpg")
AHEAD = 4  # pictures a worker may have waiting: their order is kept, so a slow one must not stop the others
ABOUT, README = "people.json", "README.md"
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
EXTRA = ("numba", "scipy")
EXTRA_MISSING = f"drawing people needs the extra people: {how_to_install('people')}"
# IPTC's term for a picture made by an algorithm that learnt from no pictures
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia"
_EXIF_DESCRIPTION, _EXIF_SOFTWARE = 0x010E, 0x0131


@dataclass(frozen=True)
class Drawn:
    """What draw_people did: `pictures` are in the set now, `new` of them were drawn this time."""

    path: Path
    pictures: int
    new: int
    seconds: float
    finished: bool

    @property
    def pictures_per_second(self) -> float:
        """Of the new ones; the start of the workers counts."""
        return self.new / self.seconds if self.new else 0.0


@dataclass(frozen=True)
class _Job:
    """What all pictures of a set have in common."""

    seed: int
    resolution: int
    format: str
    facegan: str = __version__  # another version may draw other pictures


def draw_people(
    out: str | os.PathLike[str],
    *,
    count: int,
    resolution: int = 64,
    seed: int = 0,
    workers: int | None = None,
    file_format: str = "png",
    progress: Progress = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> Drawn:
    """Draws people 0 .. count - 1 of a seed into a zip or folder: pictures, metadata.jsonl and README.md.

    workers: processes, each with one thread; default: one for each usable core; 1 draws in this one.
    file_format: png, webp (both lossless) or jpg (quality 95, colour at full resolution).
    `stop` is asked after each picture. A finished zip of fewer pictures is added to.

    Raises:
        UsageError: a value out of range, an unusable place, a set with other arguments is there, or the
            extra `people` is not installed.
        OSError: the set cannot be written, or a worker died; what is drawn is kept.
        RuntimeError: a person cannot be drawn; the message names seed and index.
    """
    began = time.monotonic()
    job = _Job(seed, resolution, choose("format", file_format, FORMATS))
    workers = min(usable_cores(), MAX_WORKERS) if workers is None else workers
    out = Path(out)
    _check(out, job, count, workers)
    drawn_with = asdict(job)
    there = _count_there(out, drawn_with, count)
    if there == count:
        clear_leftovers(out)
        return Drawn(out, count, 0, time.monotonic() - began, finished=True)
    if missing := [name for name in EXTRA if importlib.util.find_spec(name) is None]:
        raise UsageError(f"{EXTRA_MISSING} ({missing[0]} is missing)")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with growing(out, drawn_with, count) as pictures:
            if there > len(pictures):
                pictures.take_over(out)
            before = len(pictures)
            _draw_missing(pictures, job, count, workers, progress, stop)
            if len(pictures) == count:
                about = {"count": count} | drawn_with
                pictures.finish({README: _readme(job, count), ABOUT: json.dumps(about) + "\n"})
    except BrokenExecutor:
        what = "a worker process died, killed or out of memory; fewer --workers need less of it"
        raise _broken_off(ChildProcessError(None, what), out) from None
    except MemoryError:
        raise _broken_off(ChildProcessError(None, "not enough memory"), out) from None
    except OSError as error:
        raise _broken_off(error, out) from error
    return Drawn(
        out, len(pictures), len(pictures) - before, time.monotonic() - began, finished=pictures.finished
    )


# ---- before the work


def _check(out: Path, job: _Job, count: int, workers: int) -> None:
    low, high = RESOLUTIONS
    if not low <= job.resolution <= high:
        raise UsageError(f"resolution {job.resolution}: {low} to {high}")
    if not 1 <= count <= MAX_COUNT:
        raise UsageError(f"count {count}: 1 to {MAX_COUNT:,}")
    if not 0 <= job.seed <= MAX_SEED:
        raise UsageError(f"seed {job.seed}: 0 to 2**63 - 1")
    if not 1 <= workers <= MAX_WORKERS:
        raise UsageError(f"workers {workers}: 1 to {MAX_WORKERS}")
    if out.name in ("", "..") or out.suffix not in ("", ".zip"):
        raise UsageError(f"OUT {str(out)!r}: a name that ends in .zip, or a folder's, which has no suffix")
    check_name(out)
    require_writable(out.parent, "OUT")


def _count_there(out: Path, drawn_with: Json, count: int) -> int:
    """How many pictures of this kind a finished set at `out` has; 0 where there is nothing.

    Raises:
        UsageError: something else is there.
    """
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return 0
    try:
        about: Any = parse_json(_text_in(out, ABOUT))
        there = int(about["count"])
    except (OSError, TypeError, *UNREADABLE):
        raise UsageError(f"{out} is there already, and is no set of people; choose another name") from None
    kind = {name: value for name, value in about.items() if name != "count"}
    changed = differences(kind, drawn_with)
    if there > count or (there < count and out.is_dir()):
        changed += [f"count: {there} -> {count}"]
    if changed:
        hint = (
            "; to a zip one could add" if changed == [f"count: {there} -> {count}"] and there < count else ""
        )
        raise UsageError(
            f"{out} is there already, drawn with other arguments ({'; '.join(changed)}); "
            f"choose another name{hint}"
        )
    return there


def _text_in(out: Path, name: str) -> str:
    if out.is_dir():
        return (out / name).read_text()
    with zipfile.ZipFile(out) as file:
        return file.read(name).decode()


def _broken_off(error: OSError, out: Path) -> OSError:
    """The error with what a user needs to know."""
    how = f"{error.strerror or error}; what is drawn is kept; once that is solved, the same command goes on"
    return OSError(error.errno, how, str(out))


# ---- the work


def _draw_missing(
    pictures: PictureSet, job: _Job, count: int, workers: int, progress: Progress, stop: Callable[[], bool]
) -> None:
    """Appends what is missing, in order, until `stop`."""
    missing = range(len(pictures), count)
    progress(len(pictures), count)
    workers = min(workers, len(missing))
    with closing(_in_processes(job, missing, workers) if workers > 1 else _in_turn(job, missing)) as drawings:
        for picture, labels in drawings:
            pictures.append(picture, labels)
            progress(len(pictures), count)
            if stop():
                break


def _in_turn(job: _Job, indices: Iterable[int]) -> Generator[Drawing, None, None]:
    for index in indices:
        yield _draw(job, index)


def _in_processes(job: _Job, indices: Iterable[int], workers: int) -> Generator[Drawing, None, None]:
    """Drawings in order, a bounded number ahead."""
    waiting: deque[Future[Drawing]] = deque()
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        for index in indices:
            with _undisturbed_by_ctrl_c():  # the pool starts a worker when it gets work and none is idle
                waiting.append(pool.submit(_draw, job, index))
            if len(waiting) >= AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _undisturbed_by_ctrl_c() -> Iterator[None]:
    """Processes started in the block have one thread each, and leave Ctrl-C to this one."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    blocks = hasattr(signal, "pthread_sigmask")  # a new process inherits what is blocked
    if blocks:
        resource_tracker.ensure_running()  # starting it among the workers would unblock
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if blocks else set()
    try:
        yield
    finally:
        if blocks:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent, and ends with it: else a worker would wait for work for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _draw(job: _Job, index: int) -> Drawing:
    """One picture and its labels: what a worker does."""
    from facegan.people.labels import labels_of
    from facegan.people.person import Person
    from facegan.people.render import render

    try:
        person = Person.numbered(job.seed, index)
        portrait = render(person, job.resolution)
        picture = _encoded(portrait.image, job, index)
        about = {"file_name": f"{index:06d}.{job.format}", "seed": job.seed, "index": index}
        labels = json.dumps(about | labels_of(person, portrait.landmarks), separators=(",", ":"))
        return picture, labels.encode()
    except MemoryError:
        raise
    except Exception as error:
        what = f"person {index} of seed {job.seed} cannot be drawn: {type(error).__name__}: {error}"
        raise RuntimeError(what) from error


# ---- files


def _encoded(image: NDArray[np.uint8], job: _Job, index: int) -> bytes:
    """The picture's file, which says what it is: images.read_provenance reads it."""
    from PIL import Image, PngImagePlugin

    mark = json.dumps({"model": "people", "seeds": f"{job.seed}/{index}", "psi": 1.0, "synthetic": True})
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}"/></rdf:RDF></x:xmpmeta>'
    )
    options: dict[str, Any]
    if job.format == "png":
        info = PngImagePlugin.PngInfo()
        info.add_text("Software", "facegan")
        info.add_text("facegan", mark)
        info.add_itxt("XML:com.adobe.xmp", xmp)
        options = {"pnginfo": info}
    else:
        exif = Image.Exif()
        exif[_EXIF_DESCRIPTION], exif[_EXIF_SOFTWARE] = mark, "facegan"
        options = {"exif": exif, "xmp": xmp.encode()}
        options |= {"lossless": True} if job.format == "webp" else {"quality": 95, "subsampling": 0}
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, {"jpg": "JPEG"}.get(job.format, job.format), **options)
    return encoded.getvalue()


def _readme(job: _Job, count: int) -> str:
    """The text that goes with a set."""
    options = f"--count {count} --resolution {job.resolution} --seed {job.seed} --format {job.format}"
    return f"""# People who do not exist

{count:,} pictures, {job.resolution}x{job.resolution}, drawn by facegan {job.facegan}:

    facegan people OUT.zip {options}

- **Origin.** A parametric head from MakeHuman's data (CC0); skin, hair, eyes, clothes and backgrounds are
  computed. No photograph and no real person is in them. Likeness to anybody is chance.
- **Licence.** CC0 1.0, https://creativecommons.org/publicdomain/zero/1.0/. Do with them what you like.
- **Labels.** metadata.jsonl, one line a picture: age, presentation, ancestry, hair, expression, pose, light,
  68 landmarks and more; docs/people.md of facegan explains each.
- **Alignment.** Like FFHQ: eyes and mouth at fixed places.

The command above draws the same set again. Leave the marks in the pictures that say they are synthetic.
"""
