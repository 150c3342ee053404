"""docs/logs.md has a row for every event, field and message, and no other rows."""

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from refresher.core.notifications import Notification
from refresher.logs.lines import line_of
from tests.core.builders import NOW
from tests.logs.test_lines import CASES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "logs.md").read_text()
METHODS = {"debug", "info", "warning", "error", "exception", "critical"}
# Set by the observer, by the formats, and by the line in the place of missing lines.
OTHER_FIELDS = {"ts", "level", "logger", "message", "exc", "event", "token", "since", "failures", "dropped"}


def rows(section: str) -> list[list[str]]:
    """The cells of each row of the table in this section."""
    text = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_event_has_a_row():
    kinds = [kind.__name__ for kind in get_args(Notification)]
    assert sorted(row[0].strip("`") for row in rows("Events")) == sorted([*kinds, "LinesDropped"])


def test_a_row_has_the_levels_of_its_event():
    levels: dict[str, set[str]] = {"LinesDropped": {"WARNING"}}
    for case in CASES:
        lines = (line_of(case.notification, NOW), line_of(case.notification, NOW, retries=False))
        found = levels.setdefault(type(case.notification).__name__, set())
        found |= {logging.getLevelName(line.level) for line in lines}
    assert {row[0].strip("`"): set(row[1].split(", ")) for row in rows("Events")} == levels


def test_every_field_has_a_row():
    fields = {field for case in CASES for field in case.fields} | OTHER_FIELDS
    listed = [name for row in rows("Fields") for name in names(row[0])]
    assert sorted(listed) == sorted(fields)


def direct_messages() -> Iterator[tuple[str, str]]:
    """Each place that logs without a notification, and its text; without the client, a library for others."""
    for path in sorted((ROOT / "refresher").rglob("*.py")):
        where = path.relative_to(ROOT)
        if "client" in where.parts[:2]:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_logger(node.func):
                text = node.args[0]
                assert isinstance(text, ast.Constant), f"{where}:{node.lineno}: pass the text itself"
                yield f"{where}:{node.lineno}", str(text.value)


def _is_logger(method: ast.Attribute) -> bool:
    logger = ast.unparse(method.value)
    return method.attr in METHODS and (logger == "_log" or "getLogger" in logger)


def test_every_other_message_has_a_row_and_every_row_its_message():
    messages = dict(direct_messages())
    patterns = {where: re.sub("%[sd]", "[A-Z]+", re.escape(text)) for where, text in messages.items()}
    listed = [row[0].strip("`") for row in rows("Other lines")]
    missing = [
        where for where, pattern in patterns.items() if not any(re.fullmatch(pattern, row) for row in listed)
    ]
    stale = [row for row in listed if not any(re.fullmatch(text, row) for text in patterns.values())]
    assert (missing, stale) == ([], [])
    assert len(messages) > 10
