"""The Hugging Face Hub: from a repository's name to the folder of its files on this machine."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from perceivers.pretrained.files import shards

CONFIG_FILE = "config.json"
# The safe form is taken where there is a choice.
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
# Beside an index of this ending lie the weights in several files.
INDEX_SUFFIX = ".index.json"
PREPARATION_FILE = "preprocessor_config.json"

_REPO_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def is_repo_id(name: str) -> bool:
    """Return whether `name` has the form of a repository's name: `owner/name`."""
    return _REPO_ID.fullmatch(name) is not None


def fetch(repo_id: str, *, revision: str | None = None, token: str | None = None) -> Path:
    """Return the folder with a repository's config, weights and way of preparing images; what is cached stays.

    Args:
        repo_id: `owner/name`.
        revision: Branch, tag or commit; `None` takes the main branch.
        token: Access token; `None` takes the one that was logged in with.

    Raises:
        ValueError: There is no such repository, revision or file, it is not public, or the Hub cannot be reached
            and the files are not in the cache.
    """
    try:
        # Without an answer the cache is all there is; asking for each file would try again and again.
        return _fetch(repo_id, revision, token, cached_only=not hub_answers(repo_id, token))
    except GatedRepoError as error:
        raise ValueError(
            f"'{repo_id}' is open only to those who asked for access; log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise ValueError(f"the Hub has no repository '{repo_id}', or it is private and no token was given") from error
    except RevisionNotFoundError as error:
        raise ValueError(f"'{repo_id}' has no revision '{revision}'") from error
    # Before the more general absence of a file, whose kind it is.
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ValueError(
            f"'{repo_id}' is not in the cache and the Hub cannot be reached; go online once, or give a folder, or "
            f"'mini', the small model of the task that ships with the package"
        ) from error
    except EntryNotFoundError as error:
        raise ValueError(f"'{repo_id}' lacks {CONFIG_FILE} or all of {list(WEIGHT_FILES)}") from error
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"'{repo_id}' cannot be loaded from the Hub: {reason}") from error


def obtainable(repo_id: str, *, token: str | None = None) -> bool:
    """Return whether a repository's files are in the cache, or the Hub answers that it has the repository."""
    try:
        _fetch(repo_id, None, token, cached_only=True)
    except (ValueError, OSError):
        return hub_answers(repo_id, token, refusals=False)
    return True


def hub_answers(repo_id: str, token: str | None, *, refusals: bool = True) -> bool:
    """Return whether the Hub says anything about a repository; `False` in offline mode.

    Args:
        repo_id: `owner/name`.
        token: Access token.
        refusals: Whether it is an answer too that there is no such repository, or none for this token.
    """
    try:
        HfApi().model_info(repo_id, token=token, timeout=10)
    except OfflineModeIsEnabled:
        return False
    except (HfHubHTTPError, HFValidationError):
        return refusals
    except Exception:
        # The error's type belongs to the HTTP client, which differs between versions of the Hub library.
        return False
    return True


def _fetch(repo_id: str, revision: str | None, token: str | None, *, cached_only: bool) -> Path:
    def download(name: str) -> Path:
        path = hf_hub_download(repo_id, name, revision=revision, token=token, local_files_only=cached_only)
        return Path(path)

    config = download(CONFIG_FILE)
    with suppress(EntryNotFoundError):
        download(PREPARATION_FILE)
    _fetch_weights(download)
    return config.parent


def _fetch_weights(download: Callable[[str], Path]) -> None:
    absent: EntryNotFoundError | None = None
    for name in (name for whole in WEIGHT_FILES for name in (whole, whole + INDEX_SUFFIX)):
        # Neither there nor, offline, in the cache: the next form may be.
        try:
            path = download(name)
        except EntryNotFoundError as error:
            absent = error
            continue
        for shard in shards(path) if name.endswith(INDEX_SUFFIX) else ():
            download(shard)
        return
    assert absent is not None
    raise absent
