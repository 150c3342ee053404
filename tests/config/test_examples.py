from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from refresher.config.declarations import Settings, options_of
from refresher.config.loader import load
from refresher.config.schema import json_schema

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_loads_and_is_valid_by_the_schema(path):
    assert load({"config": str(path)}, {}, "/").settings.tokens
    Draft202012Validator(json_schema()).validate(yaml.safe_load(path.read_text()))


def test_the_full_example_shows_every_option_there_is():
    shown = yaml.safe_load((FOLDER / "many-tokens.yaml").read_text())
    assert _options(Settings) == _keys(shown)


def _options(section, path=""):
    found = set()
    for key, option in options_of(section).items():
        found |= {f"{path}.{key}"} | (_options(option.section, f"{path}.{key}") if option.section else set())
    return found


def _keys(node, path=""):
    if isinstance(node, list):
        return set().union(*(_keys(item, path) for item in node))
    if isinstance(node, dict):
        return set().union(
            *({f"{path}.{key}"} | _keys(value, f"{path}.{key}") for key, value in node.items())
        )
    return set()
