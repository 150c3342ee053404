"""Values of different classes are never equal, and no value is built or unpacked by position."""

import ast
import importlib
import operator
import pkgutil
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pytest

import refresher.core
from refresher.core.effects import Wait
from refresher.core.events import RefreshRequested, Stopping
from refresher.core.values import distinct

PACKAGE = Path(__file__).resolve().parents[2] / "refresher"


def kinds() -> list[type]:
    """Every NamedTuple class in the core."""
    names = [each.name for each in pkgutil.iter_modules(refresher.core.__path__, "refresher.core.")]
    members = [(name, each) for name in names for each in vars(importlib.import_module(name)).values()]
    return [
        each
        for name, each in members
        if isinstance(each, type) and hasattr(each, "_fields") and each.__module__ == name
    ]


def filled(kind: type, size: int) -> object:
    """A value of this class, with the same content as all others of this size. Nothing checks the types."""
    assert len(kind._fields) == size
    return kind(*range(size))


# --- Equality.


def test_values_of_different_classes_with_equal_content_differ():
    by_size: dict[int, list[type]] = {}
    for kind in kinds():
        by_size.setdefault(len(kind._fields), []).append(kind)
    pairs = [
        (filled(one, size), filled(other, size))
        for size, same_size in by_size.items()
        for one, other in combinations(same_size, 2)
    ]
    assert len(pairs) > 300
    assert [(one, other) for one, other in pairs if one == other or not operator.ne(one, other)] == []


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_a_value_equals_only_values_of_its_class_with_equal_content(kind):
    size = len(kind._fields)
    value, same = filled(kind, size), filled(kind, size)
    assert value == same
    assert not operator.ne(value, same)  # a method of its own
    assert hash(value) == hash(same)
    assert value != tuple(range(size))
    assert tuple(range(size)) != value
    for field in kind._fields:
        assert value != same._replace(**{field: "else"})


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_values_have_no_order(compare):
    with pytest.raises(TypeError, match="not supported between instances of 'Wait' and 'Wait'"):
        compare(Wait(1.0, "writing"), Wait(2.0, "minting"))


def test_sets_and_mappings_keep_values_of_different_classes_apart():
    assert len({RefreshRequested(), Stopping(), ()}) == 3
    assert {RefreshRequested(): "refresh", Stopping(): "stop"}[Stopping()] == "stop"


def test_the_decorator_changes_nothing_else():
    @distinct
    class Place(NamedTuple):
        """Somewhere."""

        name: str
        depth: int = 0

        def __add__(self, more: int) -> "Place":
            return self._replace(depth=self.depth + more)

    assert Place("a") + 2 == Place("a", depth=2)
    assert repr(Place("a")) == "Place(name='a', depth=0)"
    assert Place.__doc__ == "Somewhere."


# --- No coupling by position.


def by_position(modules: Iterable[ast.Module]) -> list[str]:
    """The source of each place that builds a value from a starred argument, or unpacks a returned value."""
    nodes = [node for module in modules for node in ast.walk(module)]
    kinds = {
        node.name
        for node in nodes
        if isinstance(node, ast.ClassDef) and "NamedTuple" in map(ast.unparse, node.bases)
    }
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    returning = {True: kinds.copy(), False: set()}
    for function in functions:
        returning[bool(kinds & named_in(function.returns))].add(function.name)
    makers = returning[True] - returning[False]

    def is_by_position(node: ast.AST) -> bool:
        match node:
            case ast.Call(func=func, args=arguments) if called(func) in kinds:
                return any(isinstance(each, ast.Starred) for each in arguments)
            case (
                ast.Starred(value=ast.Call(func=func))
                | ast.Assign(targets=[ast.Tuple()], value=ast.Call(func=func))
            ):
                return called(func) in makers
        return False

    return [ast.unparse(node) for node in nodes if is_by_position(node)]


def called(function: ast.expr) -> str:
    """``verify`` of ``verifier.verify``."""
    return ast.unparse(function).rpartition(".")[2]


def named_in(annotation: ast.expr | None) -> set[str]:
    """``Claims`` and ``None`` of ``Claims | None``; a tuple of values is not a value."""
    return set() if annotation is None else set(ast.unparse(annotation).strip("'").split(" | "))


def test_no_value_is_built_or_unpacked_by_position():
    assert by_position(ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))) == []


@pytest.mark.parametrize(
    "fault",
    [
        "Found(*found)",
        "values.Found('a', *rest)",
        "verdict, message = verifier.look()",
        "report(*look())",
        "report(*Found('a', 'b'))",
    ],
)
def test_building_or_unpacking_by_position_is_detected(fault):
    kind = ast.parse("class Found(NamedTuple):\n    verdict: str\n    message: str")
    maker = ast.parse("def look() -> 'Found | None': ...")
    assert [each in fault for each in by_position([kind, maker, ast.parse(fault)])] == [True]
