"""A configuration file as read: plain values that remember their lines, and the problems found in it.

Texts, numbers, booleans and None are Python's own. A mapping is a `Mapping`. A list is a `Sequence` (YAML) or
a plain list (JSON: its parser reports no lines).
"""

from collections.abc import Collection, Iterator

from refresher.config.quoting import plain
from refresher.errors import ConfigurationError, Problem

MOST_PROBLEMS = 1000  # enough to see that it is the wrong file; nobody has to wait for a million lines

Path = tuple[str | int, ...]  # ("tokens", 0, "lifetime")
Place = str | Path  # a flag, a variable, or a path in the file


class Mapping(dict[str, object]):
    """`lines` holds the line of each key, `duplicates` (key, earlier line) for each repeated key."""

    __slots__ = ("duplicates", "lines")

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.duplicates: list[tuple[str, int | None]] = []

    def repetitions(self) -> Iterator[tuple[str, str]]:
        """Each repeated key with its problem."""
        for key, line in self.duplicates:
            first = f" first in line {line}" if line is not None else " in the same mapping"
            yield key, f"given twice,{first}; keep one"


class Sequence(list[object]):
    """`lines` holds the line of each item."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: list[int] = []


class Ambiguous:
    """A bare word that YAML 1.1 does not read as the text it looks like: ``no``, ``1:30``, ``0640``."""

    __slots__ = ("meaning", "text")

    def __init__(self, text: str, meaning: str) -> None:
        self.text = text
        self.meaning = meaning  # "a boolean", "the number 90"


class MalformedError(Exception):
    """The file cannot be read or parsed. `line` and `column` count from 1; None if unknown."""

    def __init__(self, problem: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line
        self.column = column


def line_of(document: object, path: Path) -> int | None:
    """The line of the value at `path`, or else of the nearest value around it; None if unknown."""
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


def path_text(path: Path, known: Collection[str]) -> str:
    """`path` in the usual notation: ``tokens[0].outputs[1].mode``. A key that is not `known` is cut."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if step in known else plain(step))
    return text


class Problems:
    """Collects problems and warnings. `raise_any` raises all problems at once, ordered by line."""

    def __init__(self, known_keys: Collection[str]) -> None:
        """`known_keys`: what messages may show of a path in full."""
        self.file = ""  # its name in messages
        self.document: object = None  # its content; paths lead into it
        self.warnings: list[Problem] = []
        self._known_keys = known_keys
        self._found: list[tuple[int, Problem]] = []

    def add(self, place: Place, text: str) -> None:
        """Add a problem. Raises ConfigurationError once there are more than `MOST_PROBLEMS`."""
        line = 0 if isinstance(place, str) else line_of(self.document, place) or 0
        self._found.append((line, Problem(self.where(place), text)))
        if len(self._found) > MOST_PROBLEMS:
            self.raise_any(beside=(Problem(self.file, f"more than {MOST_PROBLEMS} problems; not all shown"),))

    def warn(self, place: Place, text: str) -> None:
        """Add a warning. Warnings are printed and stop nothing."""
        self.warnings.append(Problem(self.where(place), text))

    def where(self, place: Place) -> str:
        """`place` in full: ``refresher.yaml:12: tokens[0].outputs[1].mode``."""
        if isinstance(place, str):
            return place
        return f"{self.position(place)}: {self.path_text(place)}" if place else self.position(place)

    def position(self, path: Path) -> str:
        """File and line of `path`: ``refresher.yaml:12``."""
        line = line_of(self.document, path)
        return self.file if line is None else f"{self.file}:{line}"

    def path_text(self, path: Path) -> str:
        """`path` without its file: ``tokens[0].outputs[1].mode``."""
        return path_text(path, self._known_keys)

    def reference(self, place: Place) -> str:
        """`place` as the text of another problem refers to it: with its line, without the file."""
        if isinstance(place, str):
            return place
        line = line_of(self.document, place)
        return self.path_text(place) + (f" (line {line})" if line is not None else "")

    def raise_any(self, beside: tuple[Problem, ...] = ()) -> None:
        """Raises ConfigurationError if there are problems. `beside`: warnings that may explain them."""
        if self._found:
            self._found.sort(key=lambda found: found[0])
            raise ConfigurationError((*(problem for _, problem in self._found), *beside))
