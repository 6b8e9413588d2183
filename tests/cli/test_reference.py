"""`docs/cli.md` is what the program says of itself."""

from pathlib import Path

from corrtool.cli.reference import reference


def test_the_command_reference_has_not_drifted() -> None:
    path = Path(__file__).parents[2] / "docs" / "cli.md"
    assert path.read_text(encoding="utf-8") == reference(), (
        "run: python -m corrtool.cli.reference > docs/cli.md"
    )
