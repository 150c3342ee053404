"""The command line as a whole: help, exit codes, broken streams, and the modules that stay unloaded."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from refresher import __version__
from refresher.cli import COMMANDS, build_parser, main
from tests.commands.daemon import INTERRUPTED, KEY, refresher, start

ROOT = Path(__file__).resolve().parents[1]


def examples(name: str) -> list[str]:
    """The command lines ``refresher …`` in a command's EXAMPLE, with continued lines joined, as a shell gets
    them."""
    text = import_module(f"refresher.commands.{name}").EXAMPLE.replace("\\\n", " ")
    return [one[1] or one[2] for one in re.finditer(r"\$\((refresher [^)]+)\)|\b(refresher [a-z].*)", text)]


def words_of(example: str) -> list[str]:
    """The words after ``refresher`` to the end of the shell command."""
    lexer = shlex.shlex(example, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    words = list(lexer)[1:]
    return words[: next((at for at, word in enumerate(words) if set(word) <= set("();<>|&")), len(words))]


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"inlive-token-refresher {__version__}\n"


def test_the_help_names_every_command_the_exit_codes_and_where_to_start(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name, summary in COMMANDS.items():
        assert re.search(rf"^    {name} +{re.escape(summary[:30])}", printed, re.MULTILINE)
    assert "refresher demo" in printed
    codes = {"0": "done", "2": "command line", "73": "output", "75": "try again", "77": "key", "78": "config"}
    for code, fact in codes.items():
        assert re.search(rf"^ +{code}  .*{fact}", printed, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_ends_with_an_example(capsys, name):
    assert main([name, "--help"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: refresher {name} ")
    assert printed.endswith(f"examples:\n{import_module(f'refresher.commands.{name}').EXAMPLE}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_parses(name):
    found = examples(name)
    assert any(words_of(example)[0] == name for example in found)
    for example in found:
        arguments = build_parser().parse_args(words_of(example))
        assert arguments.run is import_module(f"refresher.commands.{words_of(example)[0]}").run


def test_the_examples_of_mint_are_read_as_a_shell_does():
    """Ensures that the test above does not truncate them."""
    assert [words_of(example) for example in examples("mint")] == [
        ["mint", "--key-file", "/etc/inlive/key", "--lifetime", "15m"],
        ["mint", "--key-file", "/etc/inlive/key", "--format", "template", "--template",
         "Authorization: Bearer $access_token"],
    ]  # fmt: skip


def test_flags_cannot_be_abbreviated(capsys):
    """Otherwise a flag added in a later version might change the meaning of an abbreviation."""
    assert main(["wait", "--time", "1s"]) == 2
    assert "--time: is not a flag of refresher wait" in capsys.readouterr().err


def test_every_mistake_of_a_configuration_has_its_own_line(capsys):
    assert main(["wait", "--to-file", "/", "--format", "xml"]) == 78
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.split(": ")[:2] for line in printed.err.splitlines()] == [
        ["refresher", "--to-file"],
        ["refresher", "--format"],
    ]


# --- Broken streams. In processes, because Python's own exit is part of it.


def with_output(out: object, *words: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Runs ``refresher WORDS…`` with this standard output, buffered as usual."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "refresher", *words]
    return subprocess.run(
        command, stdout=out, stderr=subprocess.PIPE, env=kept | environ, cwd=ROOT, timeout=30, check=False
    )  # fmt: skip


LINES = (
    ["--help"],
    ["--version"],
    ["run", "--help"],
    ["config", "schema"],
    ["status", "--to-file", "/absent"],
)


@pytest.mark.parametrize("words", LINES, ids=" ".join)
@pytest.mark.parametrize("environ", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
def test_a_reader_that_closes_the_pipe_is_not_a_failure(words, environ):
    """``refresher --help | head -1`` in the worst case: the reader has gone before the first byte."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = with_output(writer, *words, **environ)
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_a_full_standard_output_is_reported_as_a_failure(words):
    with open("/dev/full", "wb") as full:
        ended = with_output(full, *words)
    printed = b"refresher: standard output cannot be written: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (73, printed)


def test_a_command_starts_with_closed_streams(tmp_path):
    """Otherwise the next opened file, a token's, becomes standard error."""
    script = 'exec "$0" -m refresher config schema <&- >&- 2>&-'
    assert (
        subprocess.run(["sh", "-c", script, sys.executable], cwd=ROOT, timeout=30, check=False).returncode
        == 0
    )
    script = 'exec "$0" -m refresher wait --timeout nonsense --to-file /absent <&- 2>&-'
    ended = subprocess.run(
        ["sh", "-c", script, sys.executable], cwd=ROOT, stdout=subprocess.PIPE, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout) == (78, b"")  # the message for standard error is lost


def test_a_file_name_with_undecodable_bytes_is_printed(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"\xff")
    words = ["check", "--offline", "--key-file", "/absent", "--to-file", path]
    for encoding in ("utf-8:strict", "ascii:strict"):
        ended = with_output(subprocess.PIPE, *words, PYTHONIOENCODING=encoding)
        assert (ended.returncode, ended.stderr) == (78, b"")
        assert b"\\udcff can be written" in ended.stdout


def test_a_table_is_printed_in_an_encoding_without_its_characters(tmp_path):
    path = str(tmp_path / "\u2026" / "token")
    ended = with_output(subprocess.PIPE, "status", "--to-file", path, PYTHONIOENCODING="ascii:strict")
    assert (ended.returncode, ended.stderr) == (75, b"")
    assert b"\\u2026" in ended.stdout


def test_an_interrupted_command_ends_as_shells_expect(tmp_path):
    """Interrupted after its first output: Python itself handles Ctrl-C during its own start."""
    (tmp_path / "key").write_text(KEY)
    mute = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{mute.getsockname()[1]}"
    words = ("check", "--issuer-url", url, "--key-file", tmp_path / "key", "--to-file", tmp_path / "token")
    with mute, start(*words) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode in INTERRUPTED
    assert err == ""
    assert "Traceback" not in out


INTERRUPTED_IMPORT = """\
class Descriptor:
    def __set_name__(self, owner, name):
        raise KeyboardInterrupt

class Owner:
    attribute = Descriptor()
"""


def test_an_import_can_be_interrupted_while_a_class_is_created(tmp_path):
    """As happens in the modules for HTTP. Python 3.11 turns Ctrl-C into a RuntimeError there."""
    (tmp_path / "ipaddress.py").write_text(INTERRUPTED_IMPORT)
    (tmp_path / "key").write_text(KEY)
    ended = refresher("mint", "--key-file", tmp_path / "key", PYTHONPATH=str(tmp_path))
    assert ended.code in INTERRUPTED
    assert ended.said == ""


# --- Modules that stay unloaded


LOADED = """\
import json, sys
from refresher.cli import main
main(sys.argv[1:])
print(json.dumps(list(sys.modules)))
"""


def loaded_by(*words: str) -> set[str]:
    """The modules loaded by ``refresher WORDS…``."""
    command = [sys.executable, "-c", LOADED, *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    return set(json.loads(ended.stdout.splitlines()[-1]))


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["bogus"], []], ids=" ".join)
def test_help_and_version_load_no_command(words):
    loaded = loaded_by(*words)
    assert {name for name in loaded if name.startswith("refresher.commands.")} == set()
    assert loaded.isdisjoint({"requests", "urllib3", "yaml", "tenacity", "prometheus_client", "logging"})


@pytest.mark.parametrize(
    "words", [["wait", "--to-file", "/absent", "--timeout", "0"], ["status", "--to-file", "/a"]]
)
def test_a_command_on_files_loads_no_http_module(words):
    loaded = loaded_by(*words)
    assert f"refresher.commands.{words[0]}" in loaded
    assert loaded.isdisjoint(
        {"requests", "urllib3", "ssl", "yaml", "tenacity", "prometheus_client", "http.client"}
    )


def test_a_command_loads_no_other_command(tmp_path):
    loaded = loaded_by("config", "schema")
    assert {name for name in loaded if name.startswith("refresher.commands.")} == {
        "refresher.commands.config"
    }


def test_the_schema_is_json_schema_of_the_configuration():
    ended = refresher("config", "schema")
    assert ended.code == 0
    schema = json.loads(ended.said)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"issuer", "listen", "tokens"} <= set(schema["properties"])
