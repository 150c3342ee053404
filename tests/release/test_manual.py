"""refresher(1): it is well-formed and complete."""

import re
import subprocess

from refresher import __version__
from refresher.cli import COMMANDS, build_parser
from refresher.completion import arguments
from release.files import files
from tests import needs

PAGE = files()["share/man/man1/refresher.1"]


def formatted() -> str:
    """The page as shown on a terminal that is wide enough for every line."""
    command = [needs.tool("groff"), "-man", "-Tutf8", "-ww", "-P-c", "-P-b", "-P-u", "-rLL=400n"]
    made = subprocess.run(command, input=PAGE, capture_output=True, text=True, timeout=30, check=True)
    assert made.stderr == ""  # -ww: all warnings
    return made.stdout


def test_it_describes_every_command_with_all_arguments():
    page = formatted()
    for name, command in build_parser().commands.items():
        (section,) = re.findall(rf"^   {name}\n(.*?)(?=^   \S|^\S)", page, re.MULTILINE | re.DOTALL)
        assert str(command.description) in section
        for argument in arguments(command):
            assert argument.help in section
            for flag in argument.names:
                assert re.search(rf"^ +(.*, )?{flag}\b", section, re.MULTILINE)


def test_its_hyphens_can_be_copied_into_a_shell():
    """Some systems show an unescaped hyphen as a dash."""
    assert re.findall(r"(?<!\\)-", PAGE) == []
    assert "refresher run --key-file KEY --to-file TOKEN" in formatted()


def test_it_contains_the_exit_codes_and_the_version():
    page = formatted()
    assert "EXIT STATUS" in page
    assert "73  an output cannot be written" in page
    assert f"inlive-token-refresher {__version__}" in page
    assert set(COMMANDS) == set(re.findall(r"^   (\w+)$", page, re.MULTILINE))
