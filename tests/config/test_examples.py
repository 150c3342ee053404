from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from refresher.config.declarations import Settings
from refresher.config.loader import load
from refresher.config.options import json_schema, options_of

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
NAMED_BY_USERS = (
    ".data",
    ".labels",
    ".annotations",
    ".endpoint_params",
    ".headers",
    ".json",
)  # the keys below


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_loads_and_is_valid_by_the_schema(path):
    assert load({"config": str(path)}, {}, "/").settings.tokens
    Draft202012Validator(json_schema(Settings)).validate(yaml.safe_load(path.read_text()))


def test_the_full_examples_show_every_option():
    """Files and leader election exclude each other, and so do one issuer and several."""
    names = ("many-tokens.yaml", "kubernetes.yaml", "several-issuers.yaml")
    shown = [yaml.safe_load((FOLDER / name).read_text()) for name in names]
    assert _options(Settings) == _keys(shown)


def _options(section, path=""):
    found = set()
    for key, option in options_of(section).items():
        found |= {f"{path}.{key}"}.union(*(_options(each, f"{path}.{key}") for each in option.sections))
    return found


def _keys(node, path=""):
    if isinstance(node, list):
        return set().union(*(_keys(item, path) for item in node))
    if isinstance(node, dict) and not path.endswith(NAMED_BY_USERS):
        return set().union(
            *({f"{path}.{key}"} | _keys(_unnamed(key, value), f"{path}.{key}") for key, value in node.items())
        )
    return set()


def _unnamed(key, value):
    """A list of the issuers, without the names that users give them."""
    return list(value.values()) if key == "issuers" else value
