"""The lines that `refresher check` prints."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One line of the report. `code`: the exit code, 0 for success and for hints. `remedy`: text to paste to
    fix the failure; `run` prints each remedy once, after all lines."""

    subject: str
    code: int
    text: str
    is_hint: bool = False
    remedy: str = ""

    def __str__(self) -> str:
        mark = "FAIL" if self.code else "hint" if self.is_hint else "ok"
        return f"{mark:5}{self.subject}: {self.text}"
