"""The examples of the README work as they are shown."""

import re
from pathlib import Path

import pytest
import yaml

from refresher.cli import COMMANDS, build_parser
from refresher.config.loader import load

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def block(beginning: str) -> str:
    (found,) = [text for text in BLOCKS if text.startswith(beginning)]
    return str(found)


def test_the_configuration_is_accepted(tmp_path):
    path = tmp_path / "refresher.yaml"
    path.write_text(block("# refresher run --config"))
    assert len(load({"config": str(path)}, {}, "/").settings.tokens) == 2


def test_the_sidecar_uses_existing_commands():
    pod = yaml.safe_load(block("spec:"))["spec"]
    (sidecar,) = pod["initContainers"]
    parsed = build_parser().parse_args(sidecar["args"])
    assert parsed.key_file.startswith("/key/")
    build_parser().parse_args(sidecar["startupProbe"]["exec"]["command"][1:])
    assert "key" not in [mount["name"] for mount in pod["containers"][0]["volumeMounts"]]


def commands() -> list[str]:
    text = README.read_text()
    shown = re.findall(r"^(?:\$ +|\*/10 \* \* \* \* +/\S+/)refresher +(.*?)(?: +#.*)?$", text, re.MULTILINE)
    return shown + re.findall(r"(?:`|-- )refresher ((?:check|status)\b[^`#\n]*)(?:`|#)", text)


@pytest.mark.parametrize("command", commands())
def test_every_command_shown_parses(command):
    assert build_parser().parse_args(command.split()).run


def test_the_readme_lists_every_command():
    listed = re.findall(r"^\| `(\w+)[^`]*` \|", README.read_text(), re.MULTILINE)
    assert set(COMMANDS) <= set(listed)
