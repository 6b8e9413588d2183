"""Rows of evaluations: one player with one protocol each.

Whatever else was played before or after makes rows of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from corrtool.reporting.evaluations import STICKY, Protocol, interval_of
from corrtool.reporting.finished import Evaluation
from corrtool.statistics import Interval, interval_over_seeds


@dataclass(frozen=True)
class Row:
    """Evaluations with one protocol of what several runs made, which differ in their seed only.

    One of each run at most.

    Attributes:
        protocol: None where there are none. Those with sticky actions differ in nothing else.
        deviation: how they were played other than the table's first column says, such as with
            another Q-function; ``""`` for not.
        seeds: of the games, where they are not those of the runs.
        plain, sticky: by run, its evaluation or None: as it is, and with sticky actions.
    """

    protocol: Protocol | None
    deviation: str
    seeds: list[int]
    plain: list[Evaluation | None]
    sticky: list[Evaluation | None]

    def described(self) -> str:
        """The protocol in words."""
        if self.protocol is None:
            return "–"
        seeds = ", ".join(map(str, self.seeds))
        named = f", {'seed' if len(self.seeds) == 1 else 'seeds'} {seeds}" if seeds else ""
        return f"{self.protocol}{named}"


def interval_of_all(evaluations: Iterable[Evaluation | None]) -> Interval | None:
    """Mean return: over seeds where several were evaluated, else over games.

    None without evaluations.
    """
    evaluated = [run.result for run in evaluations if run is not None]
    if not evaluated:
        return None
    return (
        interval_of(evaluated[0])
        if len(evaluated) == 1
        else interval_over_seeds([r["returns"] for r in evaluated])
    )


def evaluation_rows(
    by_run: list[list[Evaluation]],
    seeds: list[int | None],
    deviation_of: Callable[[int, Evaluation], str],
) -> list[Row]:
    """Rows of the evaluations of each run, at least one.

    First the usual protocol, or the first that was played.

    Of several evaluations of a run with one protocol the one with the run's own seed comes first,
    then the older one; the rest are in further rows.

    Args:
        by_run: evaluations of what each run made, the oldest first.
        seeds: of the runs, where they have some.
        deviation_of: how an evaluation of the run with this index was played other than the rest.
    """
    groups: dict[tuple[str, Protocol], tuple[list[list[Evaluation]], list[list[Evaluation]]]] = {}
    for index, (evaluations, seed) in enumerate(zip(by_run, seeds, strict=True)):
        for run in _in_order(evaluations, seed):
            protocol = Protocol.of(run.settings, run.task)
            is_sticky = protocol.sticky == STICKY
            key = deviation_of(index, run), replace(protocol, sticky=0.0) if is_sticky else protocol
            group = groups.setdefault(key, ([[] for _ in by_run], [[] for _ in by_run]))
            group[is_sticky][index].append(run)
    ordered = sorted(
        groups.items(), key=lambda item: (item[0][0], not item[0][1].is_usual, _earliest(item[1]))
    )
    rows = []
    for (how, protocol), columns in ordered:
        for depth in range(max(len(own) for column in columns for own in column)):
            plain, sticky = (
                [own[depth] if depth < len(own) else None for own in column] for column in columns
            )
            rows.append(Row(protocol, how, _seeds(plain, sticky, seeds), plain, sticky))
    nothing: list[Evaluation | None] = [None] * len(by_run)
    return rows if rows and not rows[0].deviation else [Row(None, "", [], nothing, nothing), *rows]


def _in_order(evaluations: list[Evaluation], seed: int | None) -> list[Evaluation]:
    """Those with this seed first, and without those that were played again under another name."""
    once: dict[str, Evaluation] = {}
    for run in evaluations:
        once.setdefault(run.record["fingerprint"], run)
    return sorted(once.values(), key=lambda run: run.seed != seed)


def _earliest(columns: tuple[list[list[Evaluation]], list[list[Evaluation]]]) -> str:
    return min(run.created for column in columns for own in column for run in own)


def _seeds(
    plain: list[Evaluation | None], sticky: list[Evaluation | None], seeds: list[int | None]
) -> list[int]:
    """The seeds of the games; nothing where each run was played with its own."""
    played = [
        (run.seed, seed)
        for column in (plain, sticky)
        for run, seed in zip(column, seeds, strict=True)
        if run
    ]
    return [] if all(own == seed for own, seed in played) else sorted({own for own, _ in played})
