"""Large files over https: what came stays when the connection breaks, and the next attempt asks for the rest.

    fetch(url, path, sha256="...")      path is there, complete and checked, or an error says why not

While it comes it is PATH.part, and PATH.part.tag holds what the server calls this version of it, so that two
versions are never joined (If-Range of RFC 9110, sec. 13.1.5). Both stay after a failure, but for a wrong
checksum.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from facegan.config import UsageError, first_line
from facegan.files import require_writable_file, write_atomically

MAX_BYTES = 2**32
TIMEOUT_SECONDS = 30.0  # without a byte
MAX_FRUITLESS = 2  # attempts in a row that bring nothing
_CHUNK = 2**18
_HEADERS = "latin-1"  # as http.client reads and writes them: any bytes
Progress = Callable[[int, int], None]  # bytes that are there, of how many; 0: the server does not say


def is_url(text: str) -> bool:
    """Whether this is an address rather than a path."""
    return text.lower().startswith(("http://", "https://"))


def fetch(
    url: str, path: Path, *, sha256: str | None = None, progress: Progress = lambda done, total: None
) -> None:
    """Downloads `url` to `path` where that is not there yet, going on where an earlier attempt ended.

    Raises:
        UsageError: not an https address, larger than MAX_BYTES, nothing there, no connection, or another
            checksum than `sha256`, with which nothing stays.
        OSError: it could not be written.
    """
    _require_safe(url)
    part, tag, lock = (path.with_name(path.name + suffix) for suffix in (".part", ".part.tag", ".lock"))
    require_writable_file(tag, "download")
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        if path.is_file():  # another process may have fetched it
            return
        fruitless = furthest = 0
        while fruitless < MAX_FRUITLESS:
            why = _attempt(url, part, tag, progress)
            if not why:
                _require_known(url, part, tag, sha256)
                os.replace(part, path)
                tag.unlink(missing_ok=True)
                return
            fruitless = 0 if _size(part) > furthest else fruitless + 1
            furthest = max(furthest, _size(part))
        has_some = tag.is_file() and _size(part) > 0  # without a tag they may be of another file
        kept = f"; the {_size(part):,} bytes that came are kept: try again" if has_some else ""
        raise UsageError(f"{url}: could not be downloaded ({why}){kept}")


def _attempt(url: str, part: Path, tag: Path, progress: Progress) -> str:
    """Appends what comes to `part`; why that is not all, or nothing where it is."""
    have = _size(part) if tag.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "facegan", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag.read_text(encoding=_HEADERS))
    try:
        with _opened(request) as response:
            total = _receive(response, have, url, part, tag, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416:
            raise UsageError(f"{url}: the server says {error.code} {error.reason}") from None
        tag.unlink(missing_ok=True)  # what is here ends behind what is there: the next attempt begins anew
        return "the server has no such part of it"
    except urllib.error.URLError as error:
        return first_line(error.reason) if isinstance(error.reason, BaseException) else error.reason
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        return first_line(error)
    return "" if not total or _size(part) == total else "the connection ended early"


def _opened(request: urllib.request.Request) -> Any:
    try:
        return _OPENER.open(request, timeout=TIMEOUT_SECONDS)
    except UsageError:  # a redirect to where nothing is downloaded from
        raise
    except (ValueError, OverflowError) as error:  # letters or a port that no address has
        raise UsageError(f"{request.full_url}: not a usable address ({first_line(error)})") from None


def _receive(response: Any, have: int, url: str, part: Path, tag: Path, progress: Progress) -> int:
    """Writes what comes behind the `have` bytes, or instead of them; how many there are to be, 0: unknown."""
    headers = response.headers
    rest = response.status == 206 and headers.get("Content-Range", "").startswith(f"bytes {have}-")
    if not rest:
        have = 0
        _remember(tag, headers)
    length = headers.get("Content-Length", "")
    total = have + int(length) if length.isdecimal() and len(length) < 20 else 0
    if total > MAX_BYTES:
        raise UsageError(f"{url}: {total:,} bytes; at most {MAX_BYTES:,} are downloaded")
    with open(part, "ab" if rest else "wb") as file:
        while chunk := response.read(_CHUNK):
            have += file.write(chunk)
            if have > MAX_BYTES:
                raise UsageError(f"{url}: more than {MAX_BYTES:,} bytes; so many are not downloaded")
            progress(have, total)
    return total


def _remember(tag: Path, headers: Any) -> None:
    """Writes down which version this is, where the server says so in a form that If-Range takes."""
    etag = headers.get("ETag", "")
    version = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    if version:
        write_atomically(tag, lambda file: file.write(version.encode(_HEADERS)))
    else:
        tag.unlink(missing_ok=True)


def _require_known(url: str, part: Path, tag: Path, sha256: str | None) -> None:
    if sha256 is None:
        return
    with open(part, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        part.unlink()
        tag.unlink(missing_ok=True)
        raise UsageError(f"{url}: not the known file: sha256 {found}, expected {sha256}; deleted")


def _require_safe(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{url}: not a usable address ({first_line(error)})") from None
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")
    if parts.scheme != "https" and not local:
        raise UsageError(f"{url}: only https addresses are downloaded from")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a server's redirects only to where a user could send it as well."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _require_safe(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_SafeRedirects)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
