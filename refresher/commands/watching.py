"""Prints a text again and again: `refresher status --watch`."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"  # ECMA-48


def is_screen(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is a terminal that understands escape sequences."""
    return stream.isatty() and environ.get("TERM", "dumb") != "dumb"


def has_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether to colour what `stream` shows. See https://no-color.org."""
    return is_screen(stream, environ) and not environ.get("NO_COLOR")


def watch(text: Callable[[], str], every: float) -> None:
    """Show `text()` every `every` seconds until Ctrl-C. A terminal is redrawn. Other outputs get one text
    after the other, with an empty line between them."""
    redraws = is_screen(sys.stdout, os.environ)
    if redraws:
        print(f"{_HOME}{_REST_OF_SCREEN}", end="")
    try:
        while True:
            shown = text()
            print(_drawn(shown) if redraws else f"{shown}\n", end="" if redraws else "\n", flush=True)
            time.sleep(every)
    except KeyboardInterrupt:
        if redraws:
            print()


def _drawn(text: str) -> str:
    """`text` over what the terminal shows now. It gets no more lines than the terminal has, so that nothing
    scrolls."""
    height = shutil.get_terminal_size().lines
    lines = text.split("\n")
    if len(lines) >= height:
        hidden = len(lines) - max(1, height - 2)
        lines = [*lines[: max(1, height - 2)], f"… and {hidden} more lines"]
    return _HOME + "".join(f"{line}{_REST_OF_LINE}\n" for line in lines) + _REST_OF_SCREEN
