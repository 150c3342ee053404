"""Reads a configuration file: YAML, or JSON if its name ends in ``.json``.

The document keeps the line of each value (`source_map`). YAML is built from the events of its parser:
`yaml.compose` takes seven times as long for ten thousand tokens, recurses, and does not see aliases before it
has followed them.
"""

import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Any

from refresher.config.quoting import described, shown_path
from refresher.config.source_map import Ambiguous, MalformedError, Mapping, Sequence

if TYPE_CHECKING:
    import yaml

LARGEST = 16 * 1024 * 1024  # bytes; ten thousand tokens take two MiB
DEEPEST = 20  # levels; a configuration has five
LONGEST_NUMBER = 40  # characters

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


def content_of(path: str) -> bytes:
    """The content of the file at `path`. Raises MalformedError if it cannot be read or is larger than
    `LARGEST`."""
    try:
        return _content(path)
    except OSError as error:
        raise MalformedError(f"cannot be read, at {shown_path(path)}: {error.strerror}") from error


def document_of(content: bytes, path: str) -> object:
    """The document in the `content` of the file at `path`; never None. Raises MalformedError if it holds
    none."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedError("not UTF-8 text", content.count(b"\n", 0, error.start) + 1) from error
    if "\0" in text:
        raise MalformedError("a NUL character; this is not a text", text.count("\n", 0, text.index("\0")) + 1)
    read = read_json if path.endswith(".json") else read_yaml
    document = read(text) if text.strip() else None
    if document is None:
        raise MalformedError("is empty; it needs tokens: at least")
    return document


def _content(path: str) -> bytes:
    with open(path, "rb", opener=_open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise MalformedError("is not a regular file; a configuration is a YAML or JSON file")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise MalformedError(f"is larger than {LARGEST // 1024**2} MiB")
    return content


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # opening a FIFO without a writer would hang for ever


# JSON


def read_json(text: str) -> object:
    """The document in `text`. Raises MalformedError."""
    import json  # noqa: PLC0415 - only for files in JSON

    try:
        return json.loads(text, object_pairs_hook=_mapping, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise MalformedError(f"not JSON: {error.msg}", error.lineno, error.colno) from error
    except RecursionError as error:
        raise MalformedError("nested too deep; a configuration has five levels") from error
    except ValueError as error:  # int() refuses so many digits
        raise MalformedError("not usable JSON: a number of thousands of digits") from error


def _mapping(pairs: list[tuple[str, object]]) -> Mapping:
    mapping = Mapping()
    mapping.update(pairs)
    if len(mapping) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                mapping.duplicates.append((key, None))
            seen.add(key)
    return mapping


def _refuse_constant(name: str) -> object:
    raise MalformedError(f"not JSON: {name}")


# YAML


def read_yaml(text: str, loader: Any = None) -> object:
    """The document in `text`; None if there is none. Raises MalformedError.

    `loader`: a loader of PyYAML. Default: libyaml's where the wheel has it.
    """
    import yaml  # noqa: PLC0415 - 9 ms that flags and JSON do not need

    building = _Building()
    try:
        for event in yaml.parse(text, Loader=loader or getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            building.take(event)
    except yaml.MarkedYAMLError as error:
        raise _malformed(error, text) from error
    except yaml.YAMLError as error:  # a ReaderError: a character that YAML forbids
        raise MalformedError("a control character, which YAML does not allow") from error
    return building.root


class _Building:
    """Builds a document from the parser's events. It keeps its own stack: nothing recurses."""

    def __init__(self) -> None:
        self.root: object = None
        self.documents = 0
        self.stack: list[Mapping | Sequence] = []
        self.keys: list[str | None] = []  # for each container on the stack: the key still without a value

    def take(self, event: Any) -> None:
        match type(event).__name__:
            case "ScalarEvent":
                self._scalar(event)
            case "MappingStartEvent":
                self._open(event, Mapping())
            case "SequenceStartEvent":
                self._open(event, Sequence())
            case "MappingEndEvent" | "SequenceEndEvent":
                self.stack.pop()
                self.keys.pop()
            case "AliasEvent":
                raise _unsupported(event, "aliases (*name) are not supported; write the value out")
            case "DocumentStartEvent":
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
            raise _unsupported(event, f"nested more than {DEEPEST} deep; a configuration has five levels")
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
        key, line = sys.intern(str(event.value)), int(event.start_mark.line) + 1  # the same in all tokens
        if key == "<<" and event.implicit[0]:
            raise _unsupported(event, "merge keys (<<) are not supported; write the values out")
        if key in mapping.lines:
            mapping.duplicates.append((key, mapping.lines[key]))
        mapping.lines[key] = line
        return key


def resolved(text: str) -> object:
    """The value of a bare word: text, number, boolean or None where YAML 1.1, YAML 1.2 and JSON agree."""
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


def _malformed(error: "yaml.MarkedYAMLError", text: str) -> MalformedError:
    """The parser's message without its excerpt of the document, which may hold a secret."""
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
