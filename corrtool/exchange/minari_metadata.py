"""What a Minari dataset says of itself: its name and place, its metadata, and corrtool's seal.

Minari has no checksums, and HDF5 none of arrays that are not chunked. So corrtool adds one over all
of a dataset that it writes. A dataset that says it is corrtool's must have it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from corrtool.errors import ArtifactError
from corrtool.exchange.arrow_tables import TableFormat
from corrtool.exchange.sources import MAX_DESCRIPTION, parse_description
from corrtool.files.atomic import regular_file

NAMESPACE = "corrtool"
KEY = "corrtool"  # of what corrtool adds to a dataset's metadata
SHA256 = "corrtool_sha256"  # of a dataset, and of an episode
METADATA = "metadata.json"
AGAIN = "export the memory again with --overwrite, or restore it from a copy"
# What Minari has for whoever publishes a dataset, of which corrtool writes nothing.
_OF_PUBLISHERS = ("author", "author_email", "code_permalink", "algorithm_name")


def datasets_root() -> Path:
    """Where Minari looks for datasets."""
    given = os.environ.get("MINARI_DATASETS_PATH")
    return Path(given) if given else Path("~/.minari/datasets").expanduser()


def dataset_id(name: str) -> str:
    """The id of the dataset of a memory; Minari's ids have no dots."""
    return f"{NAMESPACE}/{re.sub(r'[^A-Za-z0-9_-]', '_', name)}-v0"


def dataset_description(directory: Path) -> dict[str, Any]:
    """What corrtool wrote into the metadata of a dataset; empty where it wrote nothing.

    Raises :class:`ArtifactError`.
    """
    value = read_metadata(directory).get(KEY, {})
    return value if isinstance(value, dict) else {}


def read_metadata(directory: Path) -> dict[str, Any]:
    """The metadata of a dataset. Raises :class:`ArtifactError`."""
    directory = directory / "data" if (directory / "data").is_dir() else directory
    path = directory / METADATA
    try:
        if regular_file(path).stat().st_size > MAX_DESCRIPTION:
            raise ArtifactError(f"{path} is too large", "it is no Minari dataset")
        return parse_description(path.read_bytes(), str(path))
    except OSError:
        raise ArtifactError(
            f"there is no Minari dataset {directory}",
            "name its directory, or its id below $MINARI_DATASETS_PATH",
        ) from None


def check_metadata(metadata: dict[str, Any], actions: int, where: str) -> None:
    """Raise :class:`ArtifactError` where the format or the actions do not fit."""
    if (stored := metadata.get("data_format", "hdf5")) not in ("hdf5", *get_args(TableFormat)):
        raise ArtifactError(
            f"{where} is stored as {stored!r}", "make it again with data_format='hdf5'"
        )
    if not isinstance(metadata.get(KEY, {}), dict):
        raise ArtifactError(f"{where}: what corrtool wrote into {METADATA} is not an object")
    count = metadata.get("total_episodes")
    if type(count) is not int or count < 0:
        raise ArtifactError(f"{where} does not say how many episodes it has")
    space = metadata.get("action_space")
    if not isinstance(space, str):
        raise ArtifactError(f"{where} does not say what its actions are")
    described = parse_description(space, f"{where}: action_space")
    if described.get("type") != "Discrete" or described.get("start", 0) != 0:
        raise ArtifactError(
            f"{where} has actions of the space {described.get('type')}",
            "only discrete ones that are counted from 0 can be imported",
        )
    if described.get("n") != actions:
        raise ArtifactError(
            f"{where} has {described.get('n')} actions, and the task has {actions}",
            "give the other --task",
        )


def sealed(metadata: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """SHA-256 over a dataset: of what its metadata say, and of its other files.

    Args:
        digests: their SHA-256, by their names.
    """
    left_out = (SHA256, *_OF_PUBLISHERS)
    said = {key: value for key, value in metadata.items() if key not in left_out}
    return hashlib.sha256(json.dumps([said, digests], sort_keys=True).encode()).hexdigest()


def check_seal(metadata: Mapping[str, Any], digests: Mapping[str, str], where: str) -> None:
    """Check that a dataset which says that it is corrtool's is as corrtool wrote it.

    Raises :class:`ArtifactError`.
    """
    own = str(metadata.get("dataset_id")).startswith(f"{NAMESPACE}/")
    if not (own or KEY in metadata or SHA256 in metadata):
        return
    if SHA256 not in metadata:
        raise ArtifactError(f"{where} says that corrtool wrote it, and has no {SHA256}", AGAIN)
    if metadata[SHA256] != sealed(metadata, digests):
        raise ArtifactError(f"{where} is damaged: it is not what corrtool wrote", AGAIN)
