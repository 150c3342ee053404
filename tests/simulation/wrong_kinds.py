"""Mutations in which the core makes a value of the wrong kind: the tests of the core have to find every one.

The simulator cannot: it checks what happens to tokens, not what is announced.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from refresher.core.effects import Step
from refresher.core.events import Event
from refresher.core.notifications import Notification
from tests.simulation.mutations import Mutation

FAMILIES = (get_args(Notification), get_args(Step), get_args(Event))


def wrong_kinds(package: Path) -> Iterator[Mutation]:
    """For each place where the core makes an notification, a step or an event: another of the same arguments
    takes its place."""
    for path in sorted((package / "core").glob("*.py")):
        source = path.read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and (other := _like(node)) is not None:
                wrong = ast.unparse(ast.Call(ast.Name(other.__name__), node.args, node.keywords))
                right = ast.get_source_segment(source, node) or ""
                before = "".join(source.splitlines(keepends=True)[: node.lineno - 1])
                begin = len(before) + len(
                    source.splitlines()[node.lineno - 1].encode()[: node.col_offset].decode()
                )
                mutated = source[:begin] + wrong + source[begin + len(right) :]
                yield Mutation(
                    f"{path.name}:{node.lineno} makes {other.__name__} in place of {right.partition('(')[0]}",
                    f"core/{path.name}",
                    source,
                    f"{mutated}\n\nfrom {other.__module__} import {other.__name__}\n",
                )


def _like(call: ast.Call) -> type | None:
    """The first other kind of the family that takes these arguments."""
    for family in FAMILIES:
        if ast.unparse(call.func) in {kind.__name__ for kind in family}:
            names = {keyword.arg or "": keyword for keyword in call.keywords}
            for kind in family:
                try:
                    inspect.signature(kind).bind(*call.args, **names)
                except TypeError:
                    continue
                if kind.__name__ != ast.unparse(call.func):
                    return kind
    return None
