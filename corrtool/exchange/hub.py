"""The Hugging Face Hub: repositories, its client, and its errors as one line of corrtool's.

Which server is meant, and which token opens it, only huggingface_hub says: ``HF_ENDPOINT``,
``HF_TOKEN`` and what ``hf auth login`` left.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corrtool import __version__
from corrtool.errors import ArtifactError, CorrtoolError, UsageError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REPOSITORY = re.compile(rf"({_WORD}/{_WORD})(?:@([^\s@]+))?")
_LOG_IN = "log in with 'hf auth login', or set HF_TOKEN"
_NETWORK = "see whether the network and HF_ENDPOINT are right"


@dataclass(frozen=True)
class Repository:
    """A model repository of the Hub, ``OWNER/REPO``, and of it a branch, a tag or a commit."""

    id: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Repository:
        """``OWNER/REPO`` or ``OWNER/REPO@REVISION``. Raises :class:`UsageError`."""
        found = _REPOSITORY.fullmatch(text)
        if found is None:
            raise UsageError(
                f"{text!r} is no repository of the Hub", "write OWNER/REPO or OWNER/REPO@REVISION"
            )
        return cls(*found.groups())

    def __str__(self) -> str:
        return self.id if self.revision is None else f"{self.id}@{self.revision}"


def hub_client() -> HfApi:
    """The Hub's client, which prints nothing. Raises :class:`UsageError` without the extra."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError:
        raise UsageError(
            "the Hugging Face Hub needs huggingface_hub", "pip install 'corrtool[hub]'"
        ) from None
    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return HfApi(
        endpoint=os.environ.get("HF_ENDPOINT") or None,
        library_name="corrtool",
        library_version=__version__,
    )


@contextmanager
def hub_errors(api: HfApi, repository: Repository) -> Iterator[None]:
    """Raise what goes wrong between here and the Hub as one line of corrtool's.

    Raises:
        ArtifactError: there is no such repository, revision or file.
        UsageError: the Hub does not take such a name.
        CorrtoolError: no network, no permission, or the server fails.
    """
    from httpx2 import HTTPError, InvalidURL
    from huggingface_hub import errors as hub

    told = (HTTPError, InvalidURL, hub.OfflineModeIsEnabled, hub.LocalEntryNotFoundError)
    of_transfer = (hub.XetDownloadError, hub.FileMetadataError, RuntimeError)
    try:
        yield
    except CorrtoolError:
        raise
    except (*told, *of_transfer, ValueError, KeyError, TypeError) as error:
        raise _explained(error, api.endpoint, repository) from error


def _explained(error: BaseException, server: str, repository: Repository) -> CorrtoolError:
    """The error as one line; what comes of the disk is not among them."""
    from httpx2 import HTTPError, InvalidURL
    from huggingface_hub import errors as hub

    if isinstance(error, hub.HfHubHTTPError):
        return _refused(error, server, repository)
    if isinstance(error, hub.HFValidationError):
        return UsageError(f"the Hub takes no repository {repository}", str(error))
    if isinstance(error, hub.OfflineModeIsEnabled):
        return CorrtoolError("HF_HUB_OFFLINE forbids what needs the network", "unset it")
    if isinstance(error, hub.LocalEntryNotFoundError) and error.__cause__ is not None:
        return _explained(error.__cause__, server, repository)
    if isinstance(error, HTTPError | InvalidURL | hub.LocalEntryNotFoundError):
        reason = " ".join(str(error).split()) or type(error).__name__
        return CorrtoolError(f"cannot reach {server}: {reason}", _NETWORK)
    return CorrtoolError(f"{server} does not answer as the Hub does ({error})", _NETWORK)


def _refused(error: BaseException, server: str, repository: Repository) -> CorrtoolError:
    """What an HTTP status means; messages of the Hub hold no token."""
    from huggingface_hub import errors as hub

    assert isinstance(error, hub.HfHubHTTPError)
    status = error.response.status_code
    if isinstance(error, hub.RevisionNotFoundError):
        return ArtifactError(f"{repository.id} has no revision {repository.revision}")
    if isinstance(error, hub.RepositoryNotFoundError):
        return ArtifactError(
            f"{server} has no repository {repository.id}, or the token does not open it",
            f"check its name, or {_LOG_IN}",
        )
    if isinstance(error, hub.RemoteEntryNotFoundError):
        return ArtifactError(f"{repository} lacks a file that it lists", "pull another revision")
    if status in (401, 403):
        what = "no token is given, or it is not valid" if status == 401 else "the token may not"
        return CorrtoolError(f"{server} refuses {repository.id} (HTTP {status}): {what}", _LOG_IN)
    told = " ".join((error.server_message or "").split())
    return CorrtoolError(f"{server} answers HTTP {status}" + (f": {told}" if told else ""))
