"""An output kind is described in one place: everything else asks that description."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from refresher.config.output_kinds import KINDS, SecretOutputSettings, kind_of, secret_names
from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY

PACKAGE = Path(__file__).resolve().parents[2] / "refresher"
DESCRIPTION, ADAPTERS = "config/output_kinds.py", "outputs/__init__.py"


def test_only_four_modules_name_the_settings_of_a_kind():
    """Its description, the builder of adapters, and what plans or demands a Secret."""
    names = {kind.settings.__name__ for kind in KINDS}
    naming = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Name) and node.id in names)
        or (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.alias) and node.name in names)
    }
    assert naming == {DESCRIPTION, ADAPTERS, "outputs/secret_plan.py", "controller/tokens.py"}


def test_only_outputs_in_the_cluster_are_secrets():
    outputs = [kind.settings("x") for kind in KINDS] + [SecretOutputSettings("studio/y")]
    assert secret_names(outputs, "home") == [("home", "x"), ("studio", "y")]
    assert [kind_of(type(output)).noun for output in outputs] == ["file", "Secret", "Secret"]


# A third kind. It is declared in a copy of the package, in the two modules that the test above allows.

SETTINGS = """\
class BoardOutputSettings(NamedTuple):
    board: Annotated[
        str,
        Option("A board.", addresses.FILE, example="/b", repeated=True, flag="--to-board", group="output"),
    ]
    colour: Annotated[
        str, Option("Its colour.", value_types.NAME, example="red", flag="--colour", group="output")
    ] = "white"
    propagation_delay: Annotated[
        float, Option("How slow.", _PROPAGATION_DELAY, example="5s", flag="--propagation-delay")
    ] = 20.0
    after: Annotated[HookSettings | None, AFTER] = None
    on_remove: Annotated[str, _ON_REMOVE] = KEEP


KINDS = (
    OutputKind(BoardOutputSettings, "board", is_file=True, delay_hint=": 0s near the board"),
"""
ADAPTER = """\
        case BoardOutputSettings(path, colour):
            from refresher.outputs import file

            form = Format("template", f"{colour} $access_token")
            return file.FileOutput(file.Plan(path, issuer_url, form, owner=cluster.owner), directories)
        case SecretOutputSettings(
"""
PROGRAM = "import sys; from refresher.cli import main; sys.exit(main(sys.argv[1:]))"
ONE_BOARD = "tokens:\n- name: t\n  key_file: key\n  lifetime: 1m\n  outputs:\n  - board: b\n"


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the package with a third kind."""
    root = tmp_path_factory.mktemp("extended")
    copy = root / "refresher"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    inserted(copy / DESCRIPTION, "KINDS = (\n", SETTINGS)
    inserted(copy / ADAPTERS, "        case SecretOutputSettings(", ADAPTER.rstrip("\n"))
    inserted(copy / ADAPTERS, "import DELETE,", "import DELETE, BoardOutputSettings,")
    return root


def inserted(path, before, text):
    source = path.read_text()
    assert source.count(before) == 1
    path.write_text(source.replace(before, text))


@pytest.fixture
def call(extended, tmp_path):
    """Runs the extended program in a directory with a key."""
    (tmp_path / "key").write_text(KEY)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("REFRESHER_")}

    def call_in_place(*arguments):
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=tmp_path,
            env=environ | {"PYTHONPATH": str(extended)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return call_in_place


@pytest.fixture
def problems(call, tmp_path):
    def problems_of(text, *flags):
        (tmp_path / "refresher.yaml").write_text(text)
        ended = call("check", "--offline", "--config", "refresher.yaml", *flags)
        assert ended.returncode == 78, ended
        return ended.stderr

    return problems_of


def test_a_new_kind_is_in_the_schema_and_in_the_help(call):
    schema = json.loads(call("config", "schema").stdout)
    kinds = schema["properties"]["tokens"]["items"]["properties"]["outputs"]["items"]["oneOf"]
    assert [next(iter(kind["properties"])) for kind in kinds] == ["board", "file", "secret"]
    assert "[REFRESHER_TO_BOARD]" in call("run", "--help").stdout


def test_a_new_kind_is_built_from_flags_and_written(call, tmp_path):
    with Emulator(keys=[KEY]) as inlive:
        flags = ["--key-file=key", "--to-board=b", "--colour=red", f"--issuer-url={inlive.url}"]
        ended = call("once", *flags)
        assert ended.returncode == 0, ended
        colour, token = (tmp_path / "b").read_text().split()
        assert (colour, inlive.valid(token)) == ("red", True)


def test_a_new_kind_is_loaded_from_a_file_and_checked(call, tmp_path):
    (tmp_path / "refresher.yaml").write_text(ONE_BOARD)
    ended = call("check", "--offline", "--config", "refresher.yaml", "--colour=red")
    assert ended.returncode == 0, ended
    assert f"file:{tmp_path}/b can be written" in ended.stdout


@pytest.mark.parametrize(
    ("text", "flags", "place"),
    [
        (ONE_BOARD.replace("board: b", "{board: b, colour: Red}"), [], ":6: tokens[0].outputs[0].colour: "),
        (ONE_BOARD.replace("board: b", "bord: b"), [], ":6: tokens[0].outputs[0].bord: "),
        (ONE_BOARD + "  - file: ./b\n", [], ":7: tokens[0].outputs[1].file: "),
        (ONE_BOARD + "  - file: .b.meta.json\n", [], ":7: tokens[0].outputs[1].file: "),
        (ONE_BOARD.replace("board: b", "board: key"), [], ":6: tokens[0].outputs[0].board: "),
        (ONE_BOARD + "leader_election: {lease: l}\n", [], ":6: tokens[0].outputs[0].board: "),
        (ONE_BOARD, ["--mode=0600"], "--mode: is for a file, and every output is a board"),
        (ONE_BOARD, ["--propagation-delay=30s"], "--propagation-delay: "),
    ],
    ids=["value", "key", "target", "record", "input", "election", "flag", "delay"],
)  # fmt: skip
def test_every_rule_holds_for_a_new_kind(problems, text, flags, place):
    assert place in problems(text, *flags)


def test_a_default_delay_of_a_new_kind_that_is_too_long_is_a_warning(call, tmp_path):
    (tmp_path / "refresher.yaml").write_text(ONE_BOARD.replace("1m", "40s"))
    ended = call("check", "--offline", "--config", "refresher.yaml")
    assert ended.returncode == 0, ended
    assert "refresher.yaml:6: tokens[0].outputs[0].board: " in ended.stderr
    assert "20s late" in ended.stderr
    assert "0s near the board" in ended.stderr
