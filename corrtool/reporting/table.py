"""A table as the report shows it: as Markdown and as HTML."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape

from corrtool.runtime.printable import printable

_LONG = 24  # letters; a column with such a cell is kept wide, so that it is not one word a line


@dataclass(frozen=True)
class Table:
    """A table of the report, with a note on how to read it."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""

    def with_column(self, name: str, note: str) -> Table:
        """With this on a column in the note; or without the column, where it has only dashes."""
        place = self.columns.index(name)
        if any(row[place] != "–" for row in self.rows):
            return replace(self, note=f"{self.note} {note}".strip())
        columns, *rows = ([*row[:place], *row[place + 1 :]] for row in (self.columns, *self.rows))
        return replace(self, columns=columns, rows=rows)

    def to_markdown(self) -> str:
        """As GitHub draws it."""
        lines = [f"### {self.title}", ""]
        if not self.rows:
            return printable("\n".join([*lines, self.note, ""]))
        lines += [
            "| " + " | ".join(self.columns) + " |",
            "| " + " | ".join("---" for _ in self.columns) + " |",
        ]
        lines += [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self.rows
        ]
        return printable("\n".join([*lines, *(["", self.note] if self.note else []), ""]))

    def to_html(self) -> str:
        """As a section of the page."""
        wide = [any(len(row[i]) > _LONG for row in self.rows) for i in range(len(self.columns))]
        head = "".join(
            f"<th{' class=long' * (len(column) > _LONG)}>{escape(column)}</th>"
            for column in self.columns
        )
        body = "".join(
            "<tr>"
            + "".join(
                f"<td{' class=long' * is_wide}>{escape(cell)}</td>"
                for cell, is_wide in zip(row, wide, strict=True)
            )
            + "</tr>"
            for row in self.rows
        )
        note = f"<p class=note>{escape(self.note)}</p>" if self.note else ""
        if not self.rows:
            return f"<h2>{escape(self.title)}</h2>{note}"
        table = f"<table><tr>{head}</tr>{body}</table>"
        return f"<h2>{escape(self.title)}</h2><div class=wide>{table}</div>{note}"


def duration(seconds: float) -> str:
    """Wall time in words."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
