"""HDF5 files that are not trusted, and the optional packages that read them."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

from corrtool.errors import ArtifactError, UsageError
from corrtool.exchange.episodes import check_bytes_fit

_NEEDING = {"minari": "Minari datasets", "arrow": "Minari datasets in Arrow or Parquet"}


def require(module: str, extra: str = "minari") -> Any:
    """A module of an extra. Raises :class:`UsageError` where it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise UsageError(
            f"{_NEEDING[extra]} need {package}", f"pip install 'corrtool[{extra}]'"
        ) from None


def plain_array(file: Any, group: str, name: str, where: str) -> Any:
    """The array ``name`` of a ``group``, whose values are in the file itself; none is read.

    Links, external storage and virtual arrays could name any file of this machine, and an array
    that was never written is read as zeros, of any size.

    Raises:
        ArtifactError: it is not there, or is such an array.
    """
    h5py = require("h5py")
    if not isinstance(file.get(group, getlink=True), h5py.HardLink):
        raise ArtifactError(f"{where} is not there", "make the dataset again")
    parent = file[group]
    link = parent.get(name, getlink=True) if isinstance(parent, h5py.Group) else None
    array = parent[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(array, h5py.Dataset) or not array.shape:
        raise ArtifactError(f"{where} has no array {name}", "make the dataset again")
    if array.external or array.is_virtual:
        raise ArtifactError(f"{where}: {name} is stored in another file", "copy it into this one")
    if array.size and not array.id.get_storage_size():
        raise ArtifactError(f"{where}: {name} was never written", "make the dataset again")
    check_bytes_fit(math.prod(array.chunks or ()) * array.dtype.itemsize, where)
    return array
