"""A run as one HTML file that needs nothing else: what it was, how it went, what it was made on.

    write_report(Path("runs/faces"))        -> runs/faces/report.html

record.py collects what the run folder holds, report_page.py makes the page, curves.py and film_strip.py its
figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from facegan.config import UsageError
from facegan.files import require_writable_file, write_text
from facegan.training.record import Record, distance_names, read_record
from facegan.training.report_page import page


def write_report(path: Path, out: Path | None = None) -> dict[str, Any]:
    """Writes the page about the run folder `path`, RUN/report.html unless told; returns where, and how far.

    Raises:
        UsageError: no run there, or its config is damaged; not a page's name; an unwritable place.
        OSError: it could not be written; nothing was.
    """
    record = read_record(path)
    target = path / "report.html" if out is None else out
    if target.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {str(target)!r}: a page, whose name ends in .html")
    require_writable_file(target, "--out")
    text = page(record)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, text)
    return {"report": str(target)} | summary(record)


def summary(record: Record) -> dict[str, Any]:
    """How far the run is, in a few numbers."""
    distances = (float(line[name]) for line in record.measurements for name in distance_names([line]))
    return {
        "images_seen": record.images_seen,
        "finished": record.finished,
        "seconds": record.seconds,
        "best_distance": min(distances, default=None),
    }
