"""Calls a command in this process, otherwise as a user does."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from refresher.cli import main


class Called(NamedTuple):
    """The result of a call: its exit code, and its output on each stream."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


def caller(capsys: pytest.CaptureFixture[str]) -> Callable[..., Called]:
    """Calls ``refresher WORDS…``."""

    def call(*words: object) -> Called:
        code = main([str(word) for word in words])
        return Called(code, *capsys.readouterr())

    return call
