import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from refresher.config.declarations import LeaderElectionSettings, Settings, TokenSettings
from refresher.config.issuers import IssuerSettings
from refresher.config.json_mint import AnswerSettings, JsonIssuerSettings
from refresher.config.loader import load
from refresher.config.oauth2 import OAuth2IssuerSettings
from refresher.config.options import json_schema, options_of
from refresher.config.output_kinds import FileOutputSettings, SecretOutputSettings
from refresher.config.serving import ServeSettings
from refresher.config.source_map import Mapping
from refresher.errors import ConfigurationError

SCHEMA = json_schema(Settings)
VALID = Draft202012Validator(SCHEMA)

ROOMS = {
    Settings: (),
    IssuerSettings: ("issuer",),
    OAuth2IssuerSettings: ("issuers", 1),
    JsonIssuerSettings: ("issuers", 2),
    AnswerSettings: ("issuers", 2, "answer"),
    LeaderElectionSettings: ("leader_election",),
    ServeSettings: ("serve",),
    TokenSettings: ("tokens",),
    FileOutputSettings: ("tokens", "outputs", 0),
    SecretOutputSettings: ("tokens", "outputs", 1),
}
"""Where in the schema each section is."""

PLAIN = {
    (section, key): option
    for section in ROOMS
    for key, option in options_of(section).items()
    if not option.sections
}
"""Every option without a section."""

each_plain_option = pytest.mark.parametrize(
    ("section", "key"), PLAIN, ids=[f"{section.__name__}.{key}" for section, key in PLAIN]
)

# What a schema cannot say: limits of a duration written as text, ports and numeric addresses that do not
# exist, the number of a group as text, the syntax of a template, names that differ only in capitals.
WEAKER = {
    "timeout",
    "max_lifetime",
    "lifetime",
    "propagation_delay",
    "duration",
    "url",
    "token_url",
    "mint",
    "headers",
    "json",
    "verify",
    "listen",
    "address",
    "group",
    "template",
}


def part_of_schema(*path):
    node = SCHEMA
    for step in path:
        node = node["oneOf"][step] if isinstance(step, int) else node["properties"][step]
        named = node.get("additionalProperties")
        node = node.get("items", named if isinstance(named, dict) else node)
    return node


def schema_of(section, key):
    return part_of_schema(*ROOMS[section])["properties"][key]


def as_read(value):
    """`value` as a document has it."""
    if not isinstance(value, dict):
        return value
    mapping = Mapping()
    mapping.update(value)
    return mapping


def accepts(option, value):
    try:
        option.value_type.parse(as_read(value))
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
    | st.sampled_from(["studio/a", "a/b/c", "a..b", "a.b", "-a", "a" * 254, "n" * 63 + "/a", "n" * 64 + "/a"])
    | st.just([])
    | st.just({})
    | st.dictionaries(
        st.sampled_from(["a", "A_.-b", "", ".", "..", "...", "..a", ".a", "a b", "ä", "k" * 253, "k" * 254])
        | st.text(max_size=3),
        st.sampled_from(["token", "template", "jsn", None, 1]),
        max_size=2,
    )
)


def fitting(schema):
    """Values that are valid or almost valid."""
    if "pattern" in schema:
        return st.from_regex(schema["pattern"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "string":
        return st.text()
    if schema["type"] == "array":
        return st.lists(fitting(schema["items"]) | st.none(), max_size=3)
    if "propertyNames" not in schema:
        return st.dictionaries(st.text(), st.sampled_from(["$key", "$lifetime s", "$$", "$a", 1, None]))
    keys = st.from_regex(schema["propertyNames"]["pattern"])
    item = schema["additionalProperties"]
    return st.dictionaries(keys, fitting(item) if item.keys() & {"pattern", "enum"} else st.text())


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA, allow_nan=False)


@pytest.mark.parametrize(("section", "path"), ROOMS.items())
def test_every_option_of_the_loader_is_in_the_schema_and_no_other(section, path):
    part = part_of_schema(*path)
    assert list(part["properties"]) == list(options_of(section))
    assert part["additionalProperties"] is False
    assert all(each["description"].endswith(".") for each in part["properties"].values())


@each_plain_option
def test_defaults_and_examples_are_valid(section, key):
    option, schema = PLAIN[section, key], schema_of(section, key)
    for value in [*schema["examples"], *([schema["default"]] if "default" in schema else [])]:
        assert accepts(option, value)
        assert Draft202012Validator(schema).is_valid(value)
    if "default" in schema:
        assert option.value_type.parse(as_read(schema["default"])) == option.default


@each_plain_option
@given(st.data())
def test_the_loader_accepts_exactly_what_the_schema_finds_valid(section, key, data):
    option, schema = PLAIN[section, key], schema_of(section, key)
    value = data.draw(values | fitting(schema))
    valid = Draft202012Validator(schema).is_valid(value)
    texts = [*value, *value.values()] if isinstance(value, dict) else value
    texts = texts if isinstance(texts, list) else [texts]
    if key not in WEAKER and not any(isinstance(text, str) and text.endswith("\n") for text in texts):
        assert accepts(option, value) == valid  # but for \n: only Python's $ matches before it
    else:
        assert valid or not accepts(option, value)


secrets = st.fixed_dictionaries(
    {"secret": st.just("studio/s")},
    optional={
        "data": st.dictionaries(
            st.sampled_from(["access-token", "auth.json", "a b"]),
            st.sampled_from(["token", "template", "template", "jsn"]),
            max_size=2,
        ),
        "template": st.sampled_from(["$access_token", "a ${access_token}\n"]),
        "propagation_delay": st.sampled_from([0, "1s", "2.5s"]),
    },
)
files = st.fixed_dictionaries(
    {"file": st.just("out")},
    optional={
        "format": st.sampled_from(["token", "json", "template"]),
        "template": st.sampled_from(["$access_token", "a ${access_token}\n"]),
        "mode": st.sampled_from(["0600", "640"]),
        "group": st.sampled_from(["www-data", 0, 33]),
        "propagation_delay": st.sampled_from([0, "1s", "2.5s"]),
    },
)
mixed = st.tuples(files, secrets).map(lambda pair: {**pair[0], **pair[1]})
outputs = st.one_of(files, secrets, files, secrets, mixed)
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
        "defaults": st.fixed_dictionaries(
            {}, optional={"key_file": st.just("keys/k"), "lifetime": st.just("1h")}
        ),
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
    """A document of valid values. Its shape may be damaged in one place."""
    document = draw(documents)
    for number, token in enumerate(document["tokens"]):
        token["name"] = f"t{number}"
        for place, output in enumerate(token["outputs"]):
            output.update({kind: f"out{number}/t{place}" for kind in ("file", "secret") if kind in output})
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


@pytest.mark.parametrize("defaults", [None, {}, {"lifetime": "1h"}, {"key_file": "keys/k"}])
@pytest.mark.parametrize("own", [{}, {"key_file": "keys/k"}])
def test_a_required_option_may_come_from_the_defaults(tmp_path, own, defaults):
    document = {"tokens": [{"name": "t", "outputs": [{"file": "out"}]} | own]}
    if defaults is not None:
        document["defaults"] = defaults
    path = tmp_path / "document.json"
    path.write_text(json.dumps(document))
    assert VALID.is_valid(document) == loads(path) == ("key_file" in own | (defaults or {}))


def loads(path):
    try:
        load({"config": str(path)}, {}, "/")
    except ConfigurationError:
        return False
    return True
