"""Models on the Hugging Face hub, through huggingface-hub: in as one .safetensors file, out as one commit.

    hf://owner/name[@revision][/file.safetensors]       the file is model.safetensors unless named

    download("hf://owner/name")                  -> the file, in the library's cache
    upload("hf://owner/name", [Path(...), ...])  -> the address of the commit

Nothing but .safetensors is ever downloaded. Where the hub does not answer, and with HF_HUB_OFFLINE=1, the
cache is what there is. The token is the library's: HF_TOKEN, else that of `hf auth login`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facegan.config import UsageError, first_line

MODEL_FILE = "model.safetensors"
MAX_BYTES = 2**31  # of a file that is downloaded
_NAME = re.compile(
    r"hf://(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<file>[\w./-]+))?", re.ASCII
)


@dataclass(frozen=True)
class HubName:
    """A name in its parts; revision: a branch, tag or commit, None for the newest."""

    repository: str
    revision: str | None
    file: str


def parse(name: str) -> HubName:
    """The parts of hf://owner/name[@revision][/file.safetensors].

    Raises:
        UsageError: of another form, or a file of another kind.
    """
    match = _NAME.fullmatch(name.rstrip("/"))
    file = (match["file"] if match else None) or MODEL_FILE
    if match is None or ".." in name or not file.endswith(".safetensors"):
        raise UsageError(f"model {name!r}: expected hf://owner/name[@revision][/file.safetensors]")
    return HubName(match["repository"], match["revision"], file)


def repository_of(name: str) -> str:
    """The owner/name of hf://owner/name, where a model is to go.

    Raises:
        UsageError: of another form; also with a revision or a file.
    """
    repository = name.removeprefix("hf://")
    if not name.startswith("hf://") or parse(name) != HubName(repository, None, MODEL_FILE):
        raise UsageError(f"{name!r}: expected hf://owner/name, to publish at")
    return repository


def download(name: str) -> Path:
    """The file of a hub name in the library's cache, downloaded where it is new.

    Raises:
        UsageError: a malformed name, nothing there, no access, too large, or no answer and not in the cache.
    """
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_download, hf_hub_url  # slow to import
    from huggingface_hub import try_to_load_from_cache as cached_file

    wanted = parse(name)
    repository, file, revision = wanted.repository, wanted.file, wanted.revision
    try:
        size = get_hf_file_metadata(hf_hub_url(repository, file, revision=revision)).size
    except (errors.RepositoryNotFoundError, errors.DisabledRepoError) as error:  # that of gated ones is one
        raise UsageError(f"model {name!r}: {_no_access(repository, error)}") from None
    except errors.RevisionNotFoundError:
        raise UsageError(f"model {name!r}: {repository} has no revision {revision or 'main'!r}") from None
    except errors.EntryNotFoundError:
        raise UsageError(f"model {name!r}: {repository} has no file {file!r} there") from None
    except errors.HFValidationError as error:
        raise UsageError(f"model {name!r}: {_reason(error)}") from None
    except Exception as error:  # what its connection raises changes from version to version
        cached = cached_file(repository, file, revision=revision)
        if isinstance(cached, str):
            return Path(cached)
        raise UsageError(
            f"model {name!r}: not in the cache, and the hub does not give it ({_reason(error)})"
        ) from None
    if size is not None and size > MAX_BYTES:
        raise UsageError(f"model {name!r}: {size:,} bytes; at most {MAX_BYTES:,} are downloaded")
    try:
        return Path(hf_hub_download(repository, file, revision=revision))
    except Exception as error:
        raise UsageError(f"model {name!r}: the download failed ({_reason(error)})") from None


def require_token(name: str) -> None:
    """Checks that there is a token with which to write to hf://owner/name.

    Raises:
        UsageError: there is none.
    """
    from huggingface_hub import get_token

    if get_token() is None:
        raise UsageError(
            f"{name}: no token to write with; log in with `hf auth login`, or set HF_TOKEN to one of "
            "https://huggingface.co/settings/tokens"
        )


def upload(name: str, files: Sequence[Path], message: str, *, private: bool = False) -> str:
    """The address of the one commit with these files, at the top of a repository that is made if it is new.

    private: nobody else is to see it.

    Raises:
        UsageError: not hf://owner/name, no token, no right to write there, a public repository where a
            private one is asked for, or no connection.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, errors

    repository = repository_of(name)
    require_token(name)
    api = HfApi(library_name="facegan")
    try:
        try:
            public = not api.model_info(repository).private
        except errors.RepositoryNotFoundError:
            api.create_repo(repository, private=private)
        else:
            if private and public:
                raise UsageError(
                    f"{name}: is there already, and public; leave out --private, or take another"
                )
        operations = [CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=str(file)) for file in files]
        return str(api.create_commit(repository, operations, commit_message=message).commit_url)
    except UsageError:
        raise
    except Exception as error:  # what its connection raises changes from version to version
        raise UsageError(f"{name}: the hub does not take it ({_reason(error)})") from None


def _no_access(repository: str, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError

    how = "log in with `hf auth login`, or set HF_TOKEN"
    if isinstance(error, GatedRepoError):
        return f"its owner gives access on request: ask at https://huggingface.co/{repository}, then {how}"
    return f"no such model on the hub, or a private one: check the name, or {how}"


def _reason(error: BaseException) -> str:
    """What the server said, else the first line of what went wrong first."""
    said = getattr(error, "server_message", None)
    if said is None and error.__cause__ is not None:
        return _reason(error.__cause__)
    return str(said or first_line(error))
