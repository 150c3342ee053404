"""Completion in bash, zsh and fish: each offers exactly what the command line accepts."""

import re
import subprocess
from pathlib import Path

import pytest

from refresher.cli import COMMANDS, build_parser, main
from refresher.completion import zsh
from refresher.core import formats
from refresher.parser import Parser
from release.files import files
from tests import needs
from tests.commands.daemon import refresher
from tests.terminal import Terminal

PARSERS = build_parser().commands
BASH, ZSH, FISH = (refresher("completion", shell).said for shell in ("bash", "zsh", "fish"))


def long_flags(name: str) -> set[str]:
    return {flag for flag in PARSERS[name].flags if flag.startswith("--")}


# Completes its arguments, as bash does when Tab is pressed after the last one.
ASK_BASH = """\
compopt() { :; }  # bash allows it only in a completion that it has started itself
. "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_refresher
printf '%s\\n' "${COMPREPLY[@]}"
"""


def by_bash(place: Path, *words: str) -> set[str]:
    """The offers of bash for the last of `words`, in the directory `place`."""
    script = place / ".completion"
    script.write_text(BASH)
    command = ["bash", "--norc", "-u", "-c", ASK_BASH, "bash", str(script), "refresher", *words]
    printed = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=15, check=True)
    assert printed.stderr == ""
    return set(printed.stdout.split())


def by_fish(place: Path, *words: str) -> set[str]:
    script = place / ".completion.fish"
    script.write_text(FISH)
    ask = f"source {script}; complete --do-complete 'refresher {' '.join(words)}'"
    command = [needs.tool("fish"), "--no-config", "-c", ask]
    environ = {"HOME": str(place), "PATH": "/usr/bin:/bin"}
    printed = subprocess.run(
        command, cwd=place, env=environ, capture_output=True, text=True, timeout=15, check=True
    )
    assert printed.stderr == ""
    return {line.partition("\t")[0] for line in printed.stdout.splitlines()}


def test_a_release_contains_the_scripts_that_the_command_prints():
    scripts = {path.rpartition("/")[2]: text for path, text in files().items()}
    assert (scripts["refresher"], scripts["_refresher"], scripts["refresher.fish"]) == (BASH, ZSH, FISH)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_flags_of_the_parser_are_the_flags_of_the_help(capsys, name):
    """Ensures that the other tests compare with a correct list."""
    assert main([name, "--help"]) == 0
    options = capsys.readouterr().out.partition("\nexamples:\n")[0]
    lines = re.findall(r"^  (-.*?)(?:  |$)", options, re.MULTILINE)
    assert {flag for line in lines for flag in re.findall(r"--[a-z][-a-z]*", line)} == long_flags(name)


@pytest.mark.parametrize("ask", [by_bash, by_fish])
def test_every_command_is_offered(tmp_path, ask):
    assert ask(tmp_path, "") >= set(COMMANDS)
    assert ask(tmp_path, "st") == {"status"}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("ask", [by_bash, by_fish])
def test_every_flag_of_a_command_is_offered_and_no_other(tmp_path, ask, name):
    assert ask(tmp_path, name, "--") == long_flags(name)


@pytest.mark.parametrize("ask", [by_bash, by_fish])
def test_known_values_are_offered(tmp_path, ask):
    (tmp_path / "inlive-key").touch()
    (tmp_path / "inlive-other").touch()
    assert ask(tmp_path, "run", "--format", "") == set(formats.NAMES)
    assert ask(tmp_path, "run", "--log-level", "w") == {"warning"}
    assert ask(tmp_path, "run", "--key-file", "inl") == {"inlive-key", "inlive-other"}
    assert ask(tmp_path, "run", "--lifetime", "") == set()
    assert "schema" in ask(tmp_path, "config", "")
    assert {"bash", "zsh", "fish"} <= ask(tmp_path, "completion", "")


def test_bash_completes_after_an_equals_sign(tmp_path):
    """bash splits ``--format=js`` into three words."""
    assert by_bash(tmp_path, "run", "--format", "=", "js") == {"json"}
    assert by_bash(tmp_path, "run", "--format", "=") == set(formats.NAMES)


def test_a_real_bash_completes_at_the_press_of_a_key(tmp_path):
    (tmp_path / "completion").write_text(BASH)
    (tmp_path / "inlive-key").touch()
    with Terminal("/bin/bash", "--norc", "--noprofile", "-i", HOME=str(tmp_path), PS1="> ") as shell:
        shell.type(f"cd {tmp_path} && . ./completion && echo rea''dy\n")
        shell.shows("ready\r\n")
        shell.type("refresher onc\t--ev\t10m --key-file inl\t#")
        shell.shows("refresher once --every 10m --key-file inlive-key #")


def test_a_real_zsh_completes_at_the_press_of_a_key(tmp_path):
    shell_of_users = needs.tool("zsh")
    (tmp_path / "_refresher").write_text(ZSH)
    (tmp_path / "inlive-key").touch()
    with Terminal(shell_of_users, "-f", "-i", HOME=str(tmp_path), PS1="> ") as shell:
        shell.type(f"unsetopt zle_bracketed_paste; cd {tmp_path}; fpath=({tmp_path} $fpath)\n")
        shell.type("autoload -Uz compinit && compinit -u -D && echo rea''dy\n")
        shell.shows("ready\r\n")
        for keys, shown in (
            ("refresher onc\t", "once "),
            ("--ev\t", "--every="),
            ("10m --key-file inl\t", "inlive-key "),
            ("--format js\t", "json "),
        ):
            shell.type(keys)
            shell.shows(shown)


def test_a_real_zsh_completes_with_the_sourced_script(tmp_path):
    shell_of_users = needs.tool("zsh")
    (tmp_path / "completion").write_text(ZSH)
    with Terminal(shell_of_users, "-f", "-i", HOME=str(tmp_path), PS1="> ") as shell:
        shell.type("unsetopt zle_bracketed_paste; autoload -Uz compinit && compinit -u -D\n")
        shell.type(f"source {tmp_path}/completion && echo rea''dy\n")
        shell.shows("ready\r\n")
        for keys, shown in (("refresher comp\t", "completion "), ("zs\t", "zsh ")):
            shell.type(keys)
            shell.shows(shown)


def test_the_zsh_script_has_every_command_and_flag():
    for name, command in PARSERS.items():
        assert f"'{name}:" in ZSH
        (case,) = re.findall(rf"^ +{name}\) _arguments (.*?) ;;$", ZSH, re.MULTILINE | re.DOTALL)
        assert set(re.findall(r"'\*(--?[a-z][-a-z]*)", case)) == set(command.flags)


def test_special_characters_of_zsh_are_escaped():
    parser = Parser(prog="refresher")
    parser.add_argument("--listen", metavar="[HOST]:PORT", help="Where: [this] or it's \\. More.")
    assert r"'*--listen=[Where\: \[this\] or it'\''s \\]:[HOST]\:PORT: '" in zsh(parser)
