"""ONNX Runtime Web from npm, for `facegan export --format web`: a version, known by its checksum.

    make web        or: python tools/fetch_onnxruntime_web.py [FOLDER]

Needs npm. What is fetched is compared with the sha512 below before anything of it is used.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from facegan.files import write_atomically
from facegan.interop.web import FETCHED, RUNTIME_FILES

VERSION = "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="


def main() -> None:
    """Puts the files into the folder, unless they are there."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FETCHED
    stamp = folder / "version.txt"
    if (
        stamp.is_file()
        and stamp.read_text() == VERSION
        and all((folder / f).is_file() for f in RUNTIME_FILES)
    ):
        print(f"onnxruntime-web {VERSION} is in {folder}")
        return
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is not installed: it fetches onnxruntime-web; on Debian, install npm")
    with tempfile.TemporaryDirectory() as place:
        package = f"onnxruntime-web@{VERSION}"
        subprocess.run([npm, "pack", package, "--silent", "--pack-destination", place], check=True)
        (archive,) = Path(place).glob("*.tgz")
        unpack(archive, folder)
    stamp.write_text(VERSION)
    print(f"onnxruntime-web {VERSION} -> {folder}")


def unpack(archive: Path, folder: Path, sha512: str = SHA512) -> None:
    """Takes the runtime's files out of npm's archive; ends the program if it is not the one that is known."""
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != sha512:
        sys.exit(f"{archive.name}: sha512 {found}, expected {sha512}; nothing of it was used")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as files:
        for name in RUNTIME_FILES:
            member = files.extractfile(f"package/dist/{name}")
            assert member is not None
            data = member.read()
            write_atomically(folder / name, lambda file, data=data: file.write(data))  # type: ignore[misc]


if __name__ == "__main__":
    main()
