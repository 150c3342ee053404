"""A document as read: plain values that remember their lines, so that a mistake can be pointed at.

Texts, numbers, booleans and None are Python's own; a mapping is a `Mapping`, a list a `Sequence` (YAML) or a
list (JSON, which keeps no lines).
"""

from collections.abc import Collection, Iterator

from refresher.config.wording import plain

Path = tuple[str | int, ...]  # ("tokens", 0, "lifetime")


class Mapping(dict[str, object]):
    """``lines`` holds the line of each key, ``duplicates`` (key, earlier line) for a key given again."""

    __slots__ = ("duplicates", "lines")

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.duplicates: list[tuple[str, int | None]] = []

    def repetitions(self) -> Iterator[tuple[str, str]]:
        """Each key that is given again, and what is wrong with that."""
        for key, line in self.duplicates:
            first = f" first in line {line}" if line is not None else " in the same mapping"
            yield key, f"given twice,{first}; keep one"


class Sequence(list[object]):
    """``lines`` holds the line of each item."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: list[int] = []


class Ambiguous:
    """A bare word that YAML 1.1 reads as something else than what was written: ``no``, ``1:30``, ``0640``."""

    __slots__ = ("meaning", "text")

    def __init__(self, text: str, meaning: str) -> None:
        self.text = text
        self.meaning = meaning  # "a boolean", "the number 90"


class MalformedError(Exception):
    """The text is no document at all. ``line`` and ``column`` count from 1; None where not known."""

    def __init__(self, problem: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line
        self.column = column


def line_of(document: object, path: Path) -> int | None:
    """The line of the value at `path`, or of the nearest thing around it; None where lines are not known."""
    line = None
    for step in path:
        if isinstance(document, Mapping) and isinstance(step, str):
            line = document.lines.get(step, line)
            document = document.get(step)
        elif isinstance(document, list) and isinstance(step, int) and step < len(document):
            line = document.lines[step] if isinstance(document, Sequence) else line
            document = document[step]
        else:
            break
    return line


def written(path: Path, known: Collection[str]) -> str:
    """`path` as people write it: ``tokens[0].outputs[1].mode``. What is not `known` is cut."""
    text = ""
    for step in path:
        text += (
            f"[{step}]"
            if isinstance(step, int)
            else ("." if text else "") + (step if step in known else plain(step))
        )
    return text
