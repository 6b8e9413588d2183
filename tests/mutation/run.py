"""Mutation testing: how many small mistakes in a module do its tests find?

    python tests/mutation/run.py corrtool/correspondence/losses.py

All is imported and collected once. Then each mutant gets a process of its own by ``fork``, in which
the code of one live function is exchanged, and runs tests that call this function until one fails.
docs/testing.md says why no ready-made tool does it.
"""

from __future__ import annotations

import argparse
import functools
import gc
import os
import random
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, FunctionType

import hypothesis
import pytest
from mutants import Mutant, mutants_of

FAILED, NOT_A_MUTANT = 1, 2


@dataclass
class Module:
    """A file, the mutants of it that are tried, and how many of them were killed.

    Attributes:
        mutants: of all that there are, ``count``, those that are tried.
        tried: less than them by what is no program, or has no function that a process could
            exchange.
    """

    file: str
    mutants: list[Mutant]
    count: int
    tried: int = 0
    killed: int = 0

    @classmethod
    def sample(cls, file: str, most: int) -> Module:
        """With at most so many mutants, always the same."""
        everything = mutants_of(Path(file).read_text(encoding="utf-8"))
        chosen = random.Random(0).sample(range(len(everything)), min(most, len(everything)))
        return cls(file, [everything[index] for index in sorted(chosen)], len(everything))

    def __str__(self) -> str:
        share = 100 * self.killed / max(1, self.tried)
        return f"{self.file}: {self.killed} of {self.tried} killed, {share:.0f} %, of {self.count}"

    @property
    def path(self) -> str:
        """The file as code objects name it."""
        return str(Path(self.file).resolve())

    def live_functions(self) -> dict[str, list[FunctionType]]:
        """By qualified name those that the process has, also those that a decorator has wrapped."""
        functions = defaultdict(list)
        for thing in gc.get_objects():
            if type(thing) is FunctionType and thing.__code__.co_filename == self.path:
                functions[thing.__code__.co_qualname].append(thing)
        return functions


Took = dict[pytest.Item, float]  # seconds of each test


@dataclass(eq=False)  # pytest needs plugins to be hashable
class Measurement:
    """A plugin of pytest that runs the collected tests once for each mutant instead of once.

    Attributes:
        seconds: of tests for each mutant, as they take without one; what would take longer is left
            out.
        in_child: whether this is the process of a mutant.
    """

    modules: list[Module]
    seconds: float
    in_child: bool = False

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Stop where a file of tests cannot be imported."""
        if report.failed:
            pytest.exit(report.longreprtext, 1)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """End a mutant's process with its first failure."""
        if report.failed and self.in_child:
            os._exit(FAILED)
        if report.failed:
            pytest.exit(f"{report.nodeid} fails without a mutant\n{report.longreprtext}", 1)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of pytest's own loop."""
        took = self._time(session.items)
        for module in self.modules:
            functions = module.live_functions()
            for mutant in module.mutants:
                code = mutant.compile(module.path)
                if code is None or mutant.function not in functions:
                    continue
                items, seconds = self._choose(took[module.path, mutant.function])
                work = functools.partial(self._run, functions[mutant.function], code, items)
                status = _in_child(work, seconds)
                module.tried += status != NOT_A_MUTANT
                module.killed += status not in (0, NOT_A_MUTANT)
                if status == 0:
                    untested = "" if items else ", untested"
                    print(f"survived{untested}: {module.file}:{mutant}", flush=True)
        return True

    def _time(self, items: list[pytest.Item]) -> dict[tuple[str, str], Took]:
        """By file and function, the tests that call it, and the seconds that each takes."""
        took: dict[tuple[str, str], Took] = defaultdict(dict)
        paths = {module.path for module in self.modules}
        for item, following in zip(items, [*items[1:], None], strict=True):
            began, called = time.process_time(), set[CodeType]()
            with _calls(paths, called):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            for code in called:
                function = code.co_qualname.partition(".<locals>")[0]
                took[code.co_filename, function][item] = time.process_time() - began
        return took

    def _choose(self, took: Took) -> tuple[list[pytest.Item], float]:
        """As many tests as take ``seconds`` together, and how long they take.

        First each test function with one set of its parameters, then each with another, and so on:
        what it does not find with one it may find with others, but sooner another test function
        does. The quick functions begin each round.
        """
        turns: dict[str, int] = defaultdict(int)
        rounds: list[tuple[int, float, int, pytest.Item]] = []
        for item in random.Random(0).sample(list(took), len(took)):
            function = item.nodeid.partition("[")[0]
            rounds.append((turns[function], took[item], len(rounds), item))
            turns[function] += 1
        chosen: list[pytest.Item] = []
        total = 0.0
        for _, seconds, _, item in sorted(rounds):
            if total + seconds <= self.seconds or not chosen:
                chosen.append(item)
                total += seconds
        return chosen, total

    def _run(self, functions: list[FunctionType], code: CodeType, items: list[pytest.Item]) -> int:
        self.in_child = True
        try:
            for function in functions:
                function.__code__ = code
        except ValueError:  # a variable of an outer scope is no longer used
            return NOT_A_MUTANT
        for item, following in zip(items, [*items[1:], None], strict=False):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        return 0


@contextmanager
def _calls(files: set[str], called: set[CodeType]) -> Iterator[None]:
    """Collect the code of all functions of ``files`` that are called meanwhile."""

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename in files:
            called.add(frame.f_code)

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def _in_child(work: Callable[[], int], seconds: float) -> int:
    """Exit status of ``work`` in a process of its own; not zero if it took far too long."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    limit = int(5 + 5 * seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))  # fair on a busy machine
    signal.alarm(3600)  # what waits for ever takes no time
    try:
        os._exit(work())
    except BaseException:
        os._exit(FAILED)


def tests_of(module: str) -> str:
    """Where the tests of a module are: they mirror the tree."""
    path = Path(module)
    package = Path("tests", *path.parts[1:-1])
    return str(package if len(path.parts) > 2 else package / f"test_{path.name}")


def main() -> None:
    """Print the survivors, and how many mutants were killed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="+", help="such as corrtool/correspondence/losses.py")
    parser.add_argument("--tests", nargs="+", default=[], help="instead of those that mirror them")
    parser.add_argument("--sample", type=int, default=150, help="mutants of a module at most")
    parser.add_argument("--seconds", type=float, default=8.0, help="of tests for each mutant")
    chosen = parser.parse_args()

    hypothesis.settings.register_profile(
        "mutants",
        database=None,
        derandomize=True,
        phases=[hypothesis.Phase.generate],
        deadline=None,  # a busy machine kills no mutant
    )
    hypothesis.settings.load_profile("mutants")
    modules = [Module.sample(file, chosen.sample) for file in chosen.modules]
    options = "-o addopts= -p no:xdist -p no:timeout -p no:cacheprovider -p no:terminal -W ignore"
    tests = chosen.tests or sorted({tests_of(file) for file in chosen.modules})
    status = pytest.main([*options.split(), *tests], [Measurement(modules, chosen.seconds)])
    print(*modules, sep="\n")
    sys.exit(int(status))


if __name__ == "__main__":
    main()
