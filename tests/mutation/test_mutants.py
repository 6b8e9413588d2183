"""What counts as a small mistake, and what of a module is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from mutants import mutants_of


def mistakes(source: str) -> list[str]:
    return [str(mutant).partition(": ")[2] for mutant in mutants_of(source)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return a < b", ["return a < b  →  return", "a < b  →  a <= b"]),
        ("return 0 < a <= b", [
            "return 0 < a <= b  →  return", "0 < a <= b  →  0 <= a <= b",
            "0 < a <= b  →  0 < a < b", "0  →  1",
        ]),
        ("a += b * 2", [
            "a += b * 2  →  a -= b * 2", "a += b * 2  →  pass", "b * 2  →  b / 2", "2  →  3",
        ]),
        ("if not a: b()", ["if not a  →  if not not a", "not a  →  a", "b()  →  pass"]),
        ("x = a and f(b, c, key=True)", [
            "a and f(b, c, key=True)  →  a or f(b, c, key=True)", "f(b, c, key=True)  →  f(b, c)",
            "f(b, c, key=True)  →  f(b, key=True)", "True  →  False",
        ]),
        ("return None", []),
        ("raise ValueError('text')", []),
        ("'''Text.'''", []),
        ("x: Literal['a'] = f'text {a}'", []),
    ],
)  # fmt: skip
def test_one_mistake_each(body: str, expected: list[str]) -> None:
    assert mistakes(f"def f(a, b, c):\n    {body}\n") == expected


def test_only_functions_have_mutants() -> None:
    assert mistakes("LIMIT = 3\nclass A:\n    size = 4\n    def f(self, n=5): pass\n") == []


def test_a_mutant_is_the_code_with_the_mistake() -> None:
    source = "class A:\n    def f(self, a): return [a + n for n in (1, 2)]\n"
    namespace: dict[str, Any] = {}
    exec(compile(source, "a.py", "exec"), namespace)  # noqa: S102
    made = namespace["A"]()
    original = type(made).f.__code__
    found = {}
    for mutant in mutants_of(source):
        type(made).f.__code__ = mutant.compile("a.py")
        found[str(mutant).partition("→  ")[2]] = made.f(10)
        type(made).f.__code__ = original
    assert found == {"return": None, "a - n": [9, 8], "2": [12, 12], "3": [11, 13]}
    assert made.f(10) == [11, 12]
