"""Files of other libraries, read as what they may be: hostile.

A checkpoint of torch is a zip with a pickle in it. torch's own restricted unpickler reads it, which
knows tensors and plain values and calls nothing else. What it does not check is checked here: how
much room a file asks for.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from torch import Tensor, nn

from corrtool.errors import ArtifactError
from corrtool.files.atomic import regular_file

MAX_FILE_BYTES = 1 << 30
_MAX_DEPTH = 100  # dots in a name; a pickle can hold a table that contains itself
_MAX_MEMBERS = 10_000
_HINTS = {  # what to do with what is no zip file, by its suffix
    ".onnx": "use 'corrtool import policy --from onnx'",
    ".safetensors": "use 'corrtool import q --from torch'",
    ".cleanrl_model": "use --from cleanrl",
}
_ASKED_FOR = re.compile(r"GLOBAL ([\w.]+)")


@dataclass(frozen=True)
class ForeignFile:
    """A file from elsewhere, or a file inside of one, with all its bytes."""

    path: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Identify the file."""
        return hashlib.sha256(self.content).hexdigest()

    def refused(self, why: str, hint: str = "") -> ArtifactError:
        """The error for a file that is not read any further."""
        return ArtifactError(f"{self.path} {why}", hint)


@dataclass(frozen=True)
class FoundQ:
    """What a file holds of a Q-function, or of a policy.

    Attributes:
        weights: under corrtool's names, as they were stored and not checked yet.
        says: what it tells besides: ``gamma``, ``seed``, ``env_steps``, ``observation_shape``, …
        unused: the names of other weights in it.
        notes: lines about it for people.
    """

    weights: dict[str, Tensor]
    says: dict[str, Any]
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_foreign(path: Path) -> ForeignFile:
    """A file from elsewhere. Raises :class:`ArtifactError`."""
    try:
        with regular_file(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ArtifactError(f"there is no file {path}") from None
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from None
    read = ForeignFile(str(path), content)
    if len(content) > MAX_FILE_BYTES:
        raise read.refused("is larger than a gigabyte")
    return read


def members_of(file: ForeignFile, limits: Mapping[str, int], fewest: set[str]) -> dict[str, bytes]:
    """The members of a zip file, of which nothing is written to disk.

    Args:
        limits: the names that there may be, each with the most bytes that it may have.
        fewest: those that there must be.

    Raises :class:`ArtifactError`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
            names = archive.namelist()
            if min((member.header_offset for member in archive.infolist()), default=0) > 0:
                raise file.refused(  # a zip file in it was found instead
                    "is damaged: its beginning is no zip file's or its end is missing",
                    "restore it from a copy",
                )
            if len(names) != len(set(names)) or not fewest <= set(names) <= set(limits):
                raise file.refused(
                    f"holds {_listed(names)}", f"one of its kind holds {_listed(sorted(limits))}"
                )
            return {name: _read_member(file, archive, name, limits[name]) for name in names}
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        RuntimeError,  # it is encrypted
        NotImplementedError,  # it is compressed in a way that Python does not know
        ValueError,
        OSError,
        OverflowError,
    ):
        hint = _HINTS.get(Path(file.path).suffix, "restore it from a copy")
        raise file.refused("is no zip file, or damaged", hint) from None


def _read_member(file: ForeignFile, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    with archive.open(name) as member:
        content = member.read(limit + 1)  # whatever its header says
    if len(content) > limit:
        raise file.refused(f"holds {name} of more than {limit:,} bytes")
    return content


def load_torch(file: ForeignFile) -> Any:
    """What ``torch.save`` wrote, if that is tensors and plain values; nothing else is executed.

    Raises :class:`ArtifactError`.
    """
    _check_room(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about forms that are refused later
            return torch.load(io.BytesIO(file.content), map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle can be wrong in any way
        asked = _ASKED_FOR.search(str(error))
        what = f" (it asks for {asked[1]})" if asked else ""
        raise file.refused(
            f"is damaged, or holds more than tensors{what}, so nothing of it was loaded"
        ) from None


def _check_room(file: ForeignFile) -> None:
    """Refuse what would unpack to more than its size, which torch never writes."""
    try:
        with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, OverflowError):
        raise file.refused("is no file that torch (1.6 or newer) has saved") from None
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    room = sum(member.file_size for member in members)
    if packed or room > len(file.content) or len(members) > _MAX_MEMBERS:
        raise file.refused("would take more room than it says")


def load_safetensors(file: ForeignFile) -> dict[str, Tensor]:
    """The tensors of a plain safetensors file. Raises :class:`ArtifactError`."""
    try:
        tensors: dict[str, Tensor] = tensors_from_bytes(file.content)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError):
        raise file.refused(
            "is neither a safetensors file nor one that torch has saved, or damaged"
        ) from None
    return tensors


def named_tensors(file: ForeignFile, value: Any) -> dict[str, Tensor]:
    """All tensors in a table, those of a table in it as ``outer.inner``; other values are left out.

    Raises :class:`ArtifactError` where it is no table, one without end, or has a name twice, or
    where a tensor is in another form than networks have: a nested one has not even a shape.
    """
    if not isinstance(value, dict):
        raise file.refused("holds no table of weights")
    found, tables, seen = dict[str, Tensor](), [("", value)], {id(value)}
    while tables:
        prefix, table = tables.pop()
        for name, item in table.items():
            if type(item) in (Tensor, nn.Parameter):
                full = f"{prefix}{str(name)[:200]}"
                if full in found:  # `a.b` beside `b` in the table `a`
                    raise file.refused(f"holds two weights of the name {full[:80]!r}")
                found[full] = _in_plain_form(file, full, item)
            elif isinstance(item, dict):
                if id(item) in seen or prefix.count(".") > _MAX_DEPTH:
                    raise file.refused("holds a table of weights without end")
                seen.add(id(item))
                tables.append((f"{prefix}{str(name)[:200]}.", item))
    return found


def _in_plain_form(file: ForeignFile, name: str, tensor: Tensor) -> Tensor:
    if tensor.is_nested or tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise file.refused(f"holds {name[:80]!r} in a form that corrtool does not read")
    return tensor.detach()


def said_gamma(file: ForeignFile, table: Mapping[str, Any]) -> dict[str, float]:
    """``gamma``, where a table of settings has it as a number.

    Raises :class:`ArtifactError` where it can be no discount factor.
    """
    gamma = table.get("gamma")
    if not isinstance(gamma, int | float) or type(gamma) is bool:
        return {}
    if not 0 <= gamma <= 1:
        raise file.refused(f"says a gamma of {str(gamma)[:40]}, which is not from 0 to 1")
    return {"gamma": gamma}


def checked_weights(file: ForeignFile, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as float32, each with memory of its own.

    A file of a kilobyte can hold a tensor that repeats one number 10¹² times.

    Raises:
        ArtifactError: they take more room than the file has, or are no finite numbers.
    """
    room = 0
    for name, tensor in named.items():
        if not tensor.is_floating_point():
            raise file.refused(f"holds {name} as {tensor.dtype}, which is no weight")
        room += tensor.numel() * tensor.element_size()
        if room > len(file.content):
            raise file.refused("holds weights that take more room than it says")
    weights = {name: tensor.float().contiguous().clone() for name, tensor in named.items()}
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise file.refused(f"holds NaN or infinity in {name}")
    return weights


def _listed(names: list[str], most: int = 8) -> str:
    """The first of the names, however many there are, each cut where it is long."""
    shown = ", ".join(name if len(name) <= 60 else f"{name[:60]}…" for name in names[:most])
    return shown + (f" and {len(names) - most:,} more" if len(names) > most else "")
