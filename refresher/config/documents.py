"""A configuration file, read from disk and parsed: YAML, or JSON when its name ends in ``.json``."""

import os
import stat

from refresher.config.located import MalformedError, Mapping
from refresher.config.wording import shown_path

LARGEST = 16 * 1024 * 1024  # ten thousand tokens take two


def read_document(path: str) -> object:
    """The document in the file at `path`: never None.

    Raises MalformedError when the file cannot be read, is larger than `LARGEST` bytes, or holds no document.
    """
    try:
        content = _content(path)
    except OSError as error:
        raise MalformedError(f"cannot be read, at {shown_path(path)}: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedError("not UTF-8 text", content.count(b"\n", 0, error.start) + 1) from error
    if "\0" in text:
        raise MalformedError("a NUL character, so not a text", text.count("\n", 0, text.index("\0")) + 1)
    document = _parsed(path, text)
    if document is None:
        raise MalformedError("is empty; it needs tokens: at least")
    return document


def _parsed(path: str, text: str) -> object:
    if path.endswith(".json"):
        return read_json(text) if text.strip() else None
    from refresher.config.yaml_source import read_yaml  # noqa: PLC0415 - 9 ms that flags alone do not need

    return read_yaml(text)


def _content(path: str) -> bytes:
    with open(path, "rb", opener=_open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise MalformedError("is not a regular file; a configuration is a YAML or JSON file")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise MalformedError(f"is larger than {LARGEST // 1024**2} MiB")
    return content


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # to open a FIFO that nobody writes to would hang for ever


def read_json(text: str) -> object:
    """The document in `text`. Raises MalformedError."""
    import json  # noqa: PLC0415 - only for who writes JSON

    try:
        return json.loads(text, object_pairs_hook=_mapping, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise MalformedError(f"not JSON: {error.msg}", error.lineno, error.colno) from error
    except RecursionError as error:
        raise MalformedError("nested too deep; a configuration is five deep") from error
    except ValueError as error:  # int() of more digits than it takes
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
