"""Mutants of a module: the same code, each with one small mistake."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import TypeVar

Node = TypeVar("Node", bound=ast.AST)
SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
LEFT_ALONE = (  # what runs before the code of a function can be exchanged, and text
    "annotation",
    "returns",
    "decorator_list",
    "args",
    "format_spec",
    "type_params",
)


@dataclass(frozen=True)
class Mutant:
    """One mistake: ``after`` instead of ``before``, in the field of a node of ``tree``.

    Attributes:
        function: as in ``co_qualname``, that of the outermost function around the mistake.
    """

    tree: ast.Module
    function: str
    owner: ast.AST
    field: str
    index: int | None
    before: ast.AST
    after: ast.AST

    def __str__(self) -> str:
        line = getattr(self.before, "lineno", 0)
        return f"{line}: {_text(self.before)}  →  {_text(self.after)}"

    def compile(self, file: str) -> CodeType | None:
        """The code of the function with the mistake; None where it cannot be compiled."""
        self._put(self.after)
        try:
            code = compile(ast.fix_missing_locations(self.tree), file, "exec")
        except (SyntaxError, TypeError, ValueError):
            return None
        finally:
            self._put(self.before)
        return next(part for part in _codes(code) if part.co_qualname == self.function)

    def _put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.owner, self.field, node)
        else:
            getattr(self.owner, self.field)[self.index] = node


def mutants_of(source: str) -> list[Mutant]:
    """All mutants of the functions of a module, in the order of its text."""
    tree = ast.parse(source)
    return [
        Mutant(tree, name, *place, after)
        for name, function in _functions(tree, "")
        for place in _places(function)
        for after in _mistakes(place[-1])
    ]


def _functions(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, ast.AST]]:
    for child in node.body:
        if isinstance(child, ast.FunctionDef):
            yield prefix + child.name, child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every node below ``node`` with where it is: its owner, the field, the index in the field."""
    for field, value in ast.iter_fields(node):
        if field in LEFT_ALONE and not isinstance(node, ast.Call):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise) or _is_text(child):
                continue
            if not (isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)):
                yield node, field, index, child
            yield from _places(child)


def _mistakes(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                yield _with(node, ops=_set(node.ops, index, SWAPPED[type(operator)]()))
        case ast.BinOp() | ast.AugAssign() | ast.BoolOp() if type(node.op) in SWAPPED:
            yield _with(node, op=SWAPPED[type(node.op)]())
        case ast.UnaryOp():
            yield node.operand
        case ast.Constant(value=bool(truth)):
            yield ast.Constant(not truth)
        case ast.Constant(value=int() | float() as number):
            yield ast.Constant(number + 1)
        case ast.Constant(value=str(text)):
            yield ast.Constant("XX" + text)
        case ast.If() | ast.While() | ast.IfExp():
            yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.Return(value=value) if value and ast.unparse(value) != "None":
            yield _with(node, value=None)
        case ast.Call():
            yield from _with_fewer_arguments(node)
    if isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield ast.Pass(lineno=node.lineno, col_offset=node.col_offset)


def _with_fewer_arguments(call: ast.Call) -> Iterator[ast.Call]:
    """Without any of the named arguments, and without the last of several others."""
    for index in range(len(call.keywords)):
        yield _with(call, keywords=call.keywords[:index] + call.keywords[index + 1 :])
    if len(call.args) > 1:
        yield _with(call, args=call.args[:-1])


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _with(node: Node, **fields: object) -> Node:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _set(items: Sequence[ast.AST], index: int, item: ast.AST) -> list[ast.AST]:
    return [*items[:index], item, *items[index + 1 :]]


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.If | ast.While):
        return f"{type(node).__name__.lower()} {ast.unparse(node.test)}"
    return ast.unparse(node)
