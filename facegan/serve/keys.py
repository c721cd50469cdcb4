"""API keys: who may ask, from a file with a key a line.

A key is compared by its hash and in constant time, so that the time of an answer says nothing of it.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from facegan.config import UsageError

LEAST, MOST = 16, 512  # characters of a key
MAX_KEYS = 10_000


class Keys:
    """Those that are accepted; only their hashes are kept.

    Raises:
        UsageError: none, too many, or one that is too short, too long or not plain text.
    """

    def __init__(self, keys: list[str]) -> None:
        if not 1 <= len(keys) <= MAX_KEYS:
            raise UsageError(f"{len(keys):,} API keys: 1 to {MAX_KEYS:,}, one a line")
        for number, key in enumerate(keys, 1):
            if not LEAST <= len(key) <= MOST or not key.isascii() or not key.isprintable() or " " in key:
                raise UsageError(
                    f"API key {number}: {LEAST} to {MOST} letters, digits and signs without spaces; "
                    'python -c "import secrets; print(secrets.token_urlsafe())" makes one'
                )
        self._hashes = [_hash(key.encode()) for key in keys]

    def accept(self, key: bytes) -> bool:
        """Whether it is one of them; as slow for a wrong one as for a right one."""
        given = _hash(key)
        found = False
        for known in self._hashes:
            found |= hmac.compare_digest(given, known)
        return found


def read_keys(path: Path) -> Keys:
    """The keys of a file: one a line; empty lines and those that begin with # are left out.

    Raises:
        UsageError: not such a file, or it cannot be opened.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
        return Keys([line for line in lines if line and not line.startswith("#")])
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text file with an API key a line") from None
    except OSError as error:
        raise UsageError(
            f"--api-keys {str(path)!r}: {error.strerror}; a file with an API key a line"
        ) from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def key_in(headers: list[tuple[bytes, bytes]]) -> bytes:
    """The key that a request shows: Authorization: Bearer KEY, or X-API-Key: KEY; else nothing."""
    found = b""
    for name, value in headers:
        if name == b"x-api-key":
            return value.strip()
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            found = value[7:].strip()
    return found


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
