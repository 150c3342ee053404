"""docs/python.md: each program on the page runs as it is shown, except for addresses."""

import re
from pathlib import Path
from typing import Any

import pytest

from refresher.emulator.server import Emulator
from tests.client.serving import early_mints, with_an_ended_token
from tests.commands.daemon import ROOT, eventually

PAGE = (ROOT / "docs" / "python.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_on_the_page_creates_its_room(inlive: Emulator, place: Path, program: str) -> None:
    """With the listener, although its token has ended early; then with the file, which has the next one."""
    listener, file = f"unix:{place}/socket", f"{place}/token"
    with with_an_ended_token(inlive, place) as running:
        for source in (listener, file):
            names: dict[str, Any] = {}
            exec(placed(program, source, inlive.url), names)
            assert names["room"]["name"] == "My Room"
            eventually(lambda: inlive.valid((place / "token").read_text()), "the file has the next token")
        assert early_mints(running) == 1


def placed(program: str, source: str, hub: str) -> str:
    """The program with the addresses of this test."""
    for shown in ("/var/run/inlive/access-token", "unix:/run/inlive/token.sock"):
        program = program.replace(shown, source)
    return program.replace("https://hub.inlive.app", hub)


def test_the_page_has_programs() -> None:
    assert len(PROGRAMS) == 2
