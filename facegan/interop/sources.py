"""Where a foreign file comes from: a path, an https address, or the name of a known published model.

located("ffhq")     -> Located(path, known, unchecked): downloaded into the cache where it is not there yet
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from facegan.data.dataset import default_cache
from facegan.download import Progress, fetch, is_url
from facegan.known import KNOWN, Known


class Located(NamedTuple):
    """A file on this machine; what is known of it, if it is one of the known ones.

    unchecked: it is a download without a known checksum.
    """

    path: Path
    known: Known | None
    unchecked: bool


def located(source: str, progress: Progress = lambda done, total: None) -> Located:
    """The file of a path, an address or a known name; a file of that name goes first.

    A path need not be there: who reads it says what is wrong with it.

    Raises:
        UsageError: it could not be downloaded.
    """
    known = KNOWN.get(source) or next((known for known in KNOWN.values() if known.url == source), None)
    if not is_url(source) and (known is None or Path(source).exists()):
        return Located(Path(source), None, unchecked=False)
    url = known.url if known else source
    path = cache_file(url)
    sha256 = known.sha256 if known else None
    if not path.is_file():
        fetch(url, path, sha256=sha256, progress=progress)
    return Located(path, known, unchecked=sha256 is None)


def cache_file(url: str) -> Path:
    """Where a download is kept: $FACEGAN_CACHE/downloads, under the file's name and a part of a hash."""
    name = url.partition("?")[0].rpartition("/")[2][-100:] or "file"
    return default_cache() / "downloads" / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name}"
