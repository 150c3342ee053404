"""YAML text to a located document. The one module that imports PyYAML.

Built from the parser's events: `yaml.compose` takes seven times as long for ten thousand tokens, recurses,
and sees an alias only when it has followed it.
"""

import re
from typing import Any

import yaml

from refresher.config.located import Ambiguous, MalformedError, Mapping, Sequence
from refresher.config.wording import described

DEEPEST = 20  # a configuration is five deep
LONGEST_NUMBER = 40

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where the wheel has it

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")  # JSON's: every YAML agrees on it
_OCTAL = re.compile(r"[-+]?0o?([0-7_]+)")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_OTHER_NUMBER = re.compile(
    r"[-+]?(?:0x[0-9a-fA-F_]+|0b[01_]+|\.?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))"
    r"|\.(?:nan|NaN|NAN)"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?")
_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{
        cased: Ambiguous(cased, "a boolean")
        for word in ("yes", "no", "on", "off")
        for cased in (word, word.capitalize(), word.upper())
    },
}


def read_yaml(text: str, loader: Any = Loader) -> object:
    """The document in `text`; None when there is none. Raises MalformedError."""
    building = _Building()
    try:
        for event in yaml.parse(text, Loader=loader):
            building.take(event)
    except yaml.MarkedYAMLError as error:
        raise _malformed(error, text) from error
    except yaml.YAMLError as error:  # a ReaderError: a character that YAML forbids
        raise MalformedError("a control character, which YAML does not allow") from error
    return building.root


class _Building:
    """A document in the making, on a stack of its own: depth is a number, and nothing recurses."""

    def __init__(self) -> None:
        self.root: object = None
        self.documents = 0
        self.stack: list[Mapping | Sequence] = []
        self.keys: list[str | None] = []  # for each container on the stack: the key that waits for its value

    def take(self, event: Any) -> None:
        sort = type(event)
        if sort is yaml.ScalarEvent:
            self._scalar(event)
        elif sort is yaml.MappingStartEvent:
            self._open(event, Mapping())
        elif sort is yaml.SequenceStartEvent:
            self._open(event, Sequence())
        elif sort is yaml.MappingEndEvent or sort is yaml.SequenceEndEvent:
            self.stack.pop()
            self.keys.pop()
        elif sort is yaml.AliasEvent:
            raise _unsupported(event, "aliases (*name) are not supported; write the value out")
        elif sort is yaml.DocumentStartEvent:
            self.documents += 1
            if self.documents > 1:
                raise _unsupported(event, "a second document (---); one file holds one")

    def _scalar(self, event: Any) -> None:
        _refuse_tag(event)
        if self.stack and isinstance(self.stack[-1], Mapping) and self.keys[-1] is None:
            self.keys[-1] = self._key(event, self.stack[-1])
        else:
            self._place(event, resolved(event.value) if event.implicit[0] else event.value)

    def _open(self, event: Any, container: Mapping | Sequence) -> None:
        _refuse_tag(event)
        if len(self.stack) == DEEPEST:
            raise _unsupported(event, f"nested more than {DEEPEST} deep; a configuration is five deep")
        if self.stack and isinstance(self.stack[-1], Mapping) and self.keys[-1] is None:
            raise _unsupported(event, f"{described(container)} in the place of a key; a key is a plain word")
        self._place(event, container)
        self.stack.append(container)
        self.keys.append(None)

    def _place(self, event: Any, value: object) -> None:
        if not self.stack:
            self.root = value
            return
        parent, key = self.stack[-1], self.keys[-1]
        if isinstance(parent, Sequence):
            parent.append(value)
            parent.lines.append(event.start_mark.line + 1)
        elif key is not None:
            parent[key] = value
            self.keys[-1] = None

    @staticmethod
    def _key(event: Any, mapping: Mapping) -> str:
        key, line = str(event.value), int(event.start_mark.line) + 1
        if key == "<<" and event.implicit[0]:
            raise _unsupported(event, "merge keys (<<) are not supported; write the values out")
        if key in mapping.lines:
            mapping.duplicates.append((key, mapping.lines[key]))
        mapping.lines[key] = line
        return key


def resolved(text: str) -> object:
    """What a bare word means: a text, number, boolean or None where YAML 1.1, YAML 1.2 and JSON agree."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-.":
        return text
    number = _NUMBER.fullmatch(text)
    if number and len(text) <= LONGEST_NUMBER:
        return float(text) if number[1] or number[2] else int(text)
    meaning = _other_meaning(text)
    return Ambiguous(text, meaning) if meaning else text


def _other_meaning(text: str) -> str | None:
    if octal := _OCTAL.fullmatch(text):
        digits = octal[1].replace("_", "")
        return f"the number {int(digits, 8)}" if digits and len(digits) < 20 else "a number"
    if _SEXAGESIMAL.fullmatch(text):
        return "a number to the base of sixty"
    if _OTHER_NUMBER.fullmatch(text):
        return "a number"
    return "a date" if _DATE.fullmatch(text) else None


def _refuse_tag(event: Any) -> None:
    if event.tag is not None:
        raise _unsupported(event, "tags (!name) are not supported; leave it out")


def _unsupported(event: Any, problem: str) -> MalformedError:
    return MalformedError(problem, event.start_mark.line + 1, event.start_mark.column + 1)


def _malformed(error: yaml.MarkedYAMLError, text: str) -> MalformedError:
    """The parser's words without its excerpt of the document, which may hold anything."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return MalformedError(f"not YAML: {error.problem or error.context}")
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if line[mark.column : mark.column + 1] == "\t" or "\t" in line[: len(line) - len(line.lstrip())]:
        problem = "a tab; YAML is indented with spaces"
    else:
        problem = f"not YAML: {error.problem or error.context}"
    return MalformedError(problem, mark.line + 1, mark.column + 1)
