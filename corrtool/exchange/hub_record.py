"""Records of what was pulled: ``pulled/OWNER--REPO@COMMIT.json``, sealed, one for each commit.

The weights are sealed themselves, so that where they come from cannot be written into them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from corrtool.errors import ArtifactError
from corrtool.exchange.hub import Repository
from corrtool.files.atomic import inside, remove_partial, write_atomic
from corrtool.files.sealed import damaged, read_sealed_json, seal_json
from corrtool.project.artifacts import Artifact, is_reference

PULLED = "pulled"


def write_record(
    root: Path, repository: Repository, server: str, commit: str, artifacts: list[Artifact]
) -> Path:
    """Write down from which commit these artifacts are; a record that was there is replaced."""
    path = root / PULLED / f"{repository.id.replace('/', '--')}@{commit}.json"
    record = {
        "repository": repository.id,
        "server": server,
        "revision": repository.revision,
        "commit": commit,
        "pulled": datetime.now(UTC).isoformat(),
        "artifacts": [artifact.reference() for artifact in artifacts],
    }
    remove_partial(inside(root, path).parent, f"{path.name}.")
    write_atomic(path, seal_json(record))
    return path


def pulled_from(root: Path) -> dict[str, str]:
    """``OWNER/REPO@COMMIT`` of each artifact that was pulled, by its SHA-256.

    Raises:
        ArtifactError: a record is damaged.
    """
    found: dict[str, str] = {}
    for path in sorted(inside(root, root / PULLED).glob("*.json")):
        record = read_sealed_json(path, "remove it, or pull again")
        artifacts = record.get("artifacts")
        if not isinstance(artifacts, list) or not all(map(is_reference, artifacts)):
            raise damaged(path, "remove it, or pull again")
        origin = f"{record.get('repository')}@{record.get('commit')}"
        found |= {str(reference["sha256"]): origin for reference in artifacts}
    return found


def record_problems(root: Path) -> list[ArtifactError]:
    """What is wrong with the records, for ``verify``; empty where all are whole."""
    try:
        pulled_from(root)
    except ArtifactError as error:
        return [error]
    return []
