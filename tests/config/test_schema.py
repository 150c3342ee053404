import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from refresher.config.declarations import (
    FileOutputSettings,
    IssuerSettings,
    Settings,
    TokenSettings,
    options_of,
)
from refresher.config.loader import load
from refresher.config.schema import json_schema
from refresher.errors import ConfigurationError

SCHEMA = json_schema()
VALID = Draft202012Validator(SCHEMA)

PLAIN = {
    key: option
    for section in (Settings, IssuerSettings, TokenSettings, FileOutputSettings)
    for key, option in options_of(section).items()
    if option.section is None
}
"""Every option that has no options of its own. Their keys happen to be unique."""

# What a schema cannot say: limits of a duration written as text, ports and numeric addresses that do not
# exist, the number of a group as text, the syntax of a template.
WEAKER = {"timeout", "max_lifetime", "lifetime", "runway", "url", "listen", "group", "template"}


def part_of_schema(*path):
    node = SCHEMA
    for step in path:
        node = node["properties"][step]
        node = node.get("items", node)
    return node


def schema_of(key):
    sections = [part_of_schema(), part_of_schema("issuer"), part_of_schema("tokens")]
    sections.append(part_of_schema("tokens", "outputs"))
    [found] = [section["properties"][key] for section in sections if key in section["properties"]]
    return found


def accepts(option, value):
    try:
        option.kind.parse(value)
    except ValueError:
        return False
    return True


values = (
    st.none()
    | st.booleans()
    | st.integers(-10, 100_000)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.from_regex(r"[0-9]{1,4}(ms|[dhms%])?([0-9]{1,2}[ms])?", fullmatch=True)
    | st.from_regex(r"(0|0\.)?[0-9]{2,4}", fullmatch=True)
    | st.sampled_from(["token", "~/a", "a/", "a/..", "..", "/", "", ":9464", "[::1]:1", "x:99999", "a\nb"])
    | st.sampled_from(
        ["https://a", "http://a", "http://localhost", "https://a/v1/keys/accesstoken", "https://a?b"]
    )
    | st.sampled_from(
        ["$access_token", "${access_token}", "$$access_token", "$access_tokens", "-x", "Studio"]
    )
    | st.just([])
    | st.just({})
)


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA, allow_nan=False)


@pytest.mark.parametrize(
    ("section", "path"),
    [
        (Settings, ()),
        (IssuerSettings, ("issuer",)),
        (TokenSettings, ("tokens",)),
        (FileOutputSettings, ("tokens", "outputs")),
    ],
)
def test_every_option_of_the_loader_is_in_the_schema_and_no_other(section, path):
    part = part_of_schema(*path)
    assert list(part["properties"]) == list(options_of(section))
    assert part["additionalProperties"] is False
    assert all(each["description"].endswith(".") for each in part["properties"].values())


@pytest.mark.parametrize("key", PLAIN)
def test_defaults_and_examples_are_valid_themselves(key):
    option, schema = PLAIN[key], schema_of(key)
    for value in [*schema["examples"], *([schema["default"]] if "default" in schema else [])]:
        assert accepts(option, value)
        assert Draft202012Validator(schema).is_valid(value)
    if "default" in schema:
        assert option.kind.parse(schema["default"]) == option.default


@pytest.mark.parametrize("key", PLAIN)
@given(st.data())
def test_the_loader_accepts_what_the_schema_finds_valid_and_nothing_else(key, data):
    schema = schema_of(key)
    fitting = st.from_regex(schema["pattern"]) if "pattern" in schema else st.sampled_from(schema["enum"])
    value = data.draw(values | fitting)
    valid = Draft202012Validator(schema).is_valid(value)
    if key not in WEAKER and not (isinstance(value, str) and value.endswith("\n")):
        assert accepts(PLAIN[key], value) == valid  # but for \n: only Python's $ matches before it
    else:
        assert valid or not accepts(PLAIN[key], value)


outputs = st.fixed_dictionaries(
    {},
    optional={
        "format": st.sampled_from(["token", "json", "template"]),
        "template": st.sampled_from(["$access_token", "a ${access_token}\n"]),
        "mode": st.sampled_from(["0600", "640"]),
        "group": st.sampled_from(["www-data", 0, 33]),
        "runway": st.sampled_from([0, "1s", "2.5s"]),
    },
)
tokens = st.fixed_dictionaries(
    {"key_file": st.just("keys/k"), "outputs": st.lists(outputs, min_size=1, max_size=2)},
    optional={
        "lifetime": st.sampled_from([3600, 60.0, "1h30m"]),
        "refresh_at": st.sampled_from([0.5, "70%"]),
    },
)
documents = st.fixed_dictionaries(
    {"tokens": st.lists(tokens, min_size=1, max_size=2)},
    optional={
        "listen": st.sampled_from([":9464", "[::1]:0"]),
        "issuer": st.fixed_dictionaries(
            {},
            optional={
                "url": st.just("https://a.example"),
                "timeout": st.sampled_from(["5s", 5, 1.5]),
                "ca_file": st.just("ca"),
                "max_lifetime": st.sampled_from(["24h", 86400]),
            },
        ),
    },
)


@st.composite
def damaged(draw):
    """A document of good values whose shape may be damaged in one place."""
    document = draw(documents)
    for number, token in enumerate(document["tokens"]):
        token["name"] = f"t{number}"
        for place, output in enumerate(token["outputs"]):
            output["file"] = f"out/{number}/{place}"
    token = draw(st.sampled_from(document["tokens"]))
    nodes = [document, token, draw(st.sampled_from(token["outputs"])), document.get("issuer", {})]
    node = draw(st.sampled_from(nodes))
    damage = draw(st.sampled_from(["none", "none", "unknown", "missing", "null", "empty", "text"]))
    if damage == "unknown":
        node["unknown"] = 1
    elif damage != "none" and node:
        key = draw(st.sampled_from(sorted(node)))
        node[key] = {"null": None, "empty": [], "text": "~"}.get(damage)
        if damage == "missing":
            del node[key]
            assume("tokens" in document)  # it may be left to flags, and there are none here
    return document


@given(document=damaged())
def test_a_document_loads_exactly_when_the_schema_finds_it_valid(tmp_path_factory, document):
    path = tmp_path_factory.getbasetemp() / "document.json"
    path.write_text(json.dumps(document))
    assert loads(path) == VALID.is_valid(document)


def loads(path):
    try:
        load({"config": str(path)}, {}, "/")
    except ConfigurationError:
        return False
    return True
