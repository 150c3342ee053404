from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.config import flags
from refresher.config.declarations import LeaderElectionSettings, ListenAddress, Settings, TokenSettings
from refresher.config.effective import effective_values
from refresher.config.issuers import IssuerSettings
from refresher.config.loader import KEY, OUTPUTS, load
from refresher.config.options import options_of
from refresher.config.output_kinds import FileOutputSettings, SecretOutputSettings
from refresher.errors import ConfigurationError

ONE = (
    "tokens:\n- name: studio\n  key_file: key\n  lifetime: 2h\n  outputs:\n  - {file: token, mode: '0640'}\n"
)
TWO_OUTPUTS = ONE + "  - {file: other}\n"
TWO = ONE + "- {name: two, key_file: key, outputs: [{file: two}]}\n"


def of_flags(environ=None, **flags):
    return load(flags, environ or {}, "/here")


def problems_of(environ=None, *, needs=(KEY, OUTPUTS), command="run", **flags):
    with pytest.raises(ConfigurationError) as caught:
        load(flags, environ or {}, "/here", needs=needs, command=command)
    return [str(problem) for problem in caught.value.problems]


def test_two_flags_make_a_token():
    output = FileOutputSettings("/here/token")
    assert of_flags(key_file="key", to_file=["token"]).settings == Settings(
        (TokenSettings("default", "/here/key", (output,)),)
    )


def test_every_flag_reaches_the_settings():
    found = of_flags(
        key_file="/key",
        to_file=["/a", "/b"],
        token_name="studio",
        lifetime="30m",
        refresh_at="50%",
        format="template",
        template="$access_token",
        mode="640",
        group="0",
        propagation_delay="10s",
        issuer_url="http://localhost:1",
        issuer_timeout="5",
        ca_file="/ca",
        max_lifetime="1h",
        listen=":9464",
    ).settings
    [token] = found.tokens
    assert (token.name, token.lifetime, token.refresh_at) == ("studio", 1800.0, 0.5)
    assert token.outputs == tuple(
        FileOutputSettings(path, "template", "$access_token", 0o640, "0", 10.0) for path in ("/a", "/b")
    )
    assert (found.issuer.url, found.issuer.timeout, found.issuer.ca_file) == (
        "http://localhost:1",
        5.0,
        "/ca",
    )
    assert found.issuer.max_lifetime == 3600.0
    assert found.listen == ListenAddress("", 9464)


def test_every_flag_about_kubernetes_reaches_the_settings():
    found = of_flags(
        key_file="/key",
        to_secret=["studio/a", "b"],
        format="template",
        template="$access_token",
        propagation_delay="10s",
        lease="inlive/refresher",
        lease_duration="20s",
    ).settings
    data = (("access-token", "template"),)
    assert found.tokens[0].outputs == tuple(
        SecretOutputSettings(name, data, "$access_token", 10.0) for name in ("studio/a", "b")
    )
    assert found.leader_election == LeaderElectionSettings("inlive/refresher", 20.0)


def test_a_secret_of_flags_alone_takes_every_default():
    found = of_flags(key_file="/key", to_secret=["a"], lease="b").settings
    assert found.tokens[0].outputs == (SecretOutputSettings("a", (("access-token", "token"),), None, 120.0),)
    assert found.leader_election == LeaderElectionSettings("b", 15.0)


def test_files_and_secrets_side_by_side_each_take_their_flags():
    [token] = of_flags(
        key_file="/k", to_file=["/t"], to_secret=["s"], format="json", mode="640"
    ).settings.tokens
    assert token.outputs == (
        FileOutputSettings("/t", "json", mode=0o640),
        SecretOutputSettings("s", (("access-token", "json"),)),
    )


def test_a_variable_separates_several_secrets_by_a_colon():
    environ = {"REFRESHER_KEY_FILE": "/k", "REFRESHER_TO_SECRET": "a:studio/b:", "REFRESHER_LEASE": "c"}
    found = of_flags(environ).settings
    assert [output.secret for output in found.tokens[0].outputs] == ["a", "studio/b"]
    assert found.leader_election == LeaderElectionSettings("c")


def test_every_flag_has_its_variable_and_beats_it():
    environ = {"REFRESHER_KEY_FILE": "/key", "REFRESHER_TO_FILE": "/a:b", "REFRESHER_LIFETIME": "30m"}
    [token] = of_flags(environ).settings.tokens
    assert [output.path for output in token.outputs] == ["/a", "/here/b"]
    assert token.lifetime == 1800.0
    [token] = of_flags(environ, lifetime="2h", to_file=["/c"]).settings.tokens
    assert (token.lifetime, [output.path for output in token.outputs]) == (7200.0, ["/c"])


def test_an_empty_variable_does_not_count():
    environ = {"REFRESHER_LIFETIME": "", "REFRESHER_CONFIG": "", "REFRESHER_TO_FILE": ":"}
    assert (
        of_flags(environ | {"REFRESHER_TO_FILE": "a::"}, key_file="key").settings.tokens[0].lifetime == 3600.0
    )
    assert "--to-file: is missing" in problems_of(environ, key_file="key")[0]


@pytest.mark.parametrize(
    ("flags", "variables", "lifetime"),
    [
        ({"lifetime": "4h"}, {"REFRESHER_LIFETIME": "3h"}, 4 * 3600),
        ({}, {"REFRESHER_LIFETIME": "3h"}, 3 * 3600),
        ({}, {}, 2 * 3600),
    ],
)
def test_flag_beats_variable_beats_file(loaded, flags, variables, lifetime):
    assert loaded(ONE, environ=variables, **flags).settings.tokens[0].lifetime == lifetime


def test_the_file_may_be_named_by_a_variable(tmp_path, written):
    written(ONE)
    environ = {"REFRESHER_CONFIG": str(tmp_path / "refresher.yaml")}
    assert load({}, environ, "/").settings.tokens[0].name == "studio"


def test_flags_change_the_one_token_and_the_one_output_of_a_file(tmp_path, loaded):
    [token] = loaded(ONE, token_name="x", key_file="/k", format="json").settings.tokens
    assert token == TokenSettings(
        "x", "/k", (FileOutputSettings(f"{tmp_path}/token", "json", mode=0o640),), 7200.0
    )


def test_to_file_replaces_the_outputs_of_the_file(loaded):
    [token] = loaded(TWO_OUTPUTS, to_file=["/a"], format="env").settings.tokens
    assert token.outputs == (FileOutputSettings("/a", "env"),), "its mode does not stay behind"


def test_flags_change_the_one_secret_of_a_file(loaded):
    text = ONE.replace(
        "{file: token, mode: '0640'}", "{secret: s, data: {a: template}, template: $access_token}"
    )
    [token] = loaded(text, format="json", propagation_delay="5m").settings.tokens
    assert token.outputs == (SecretOutputSettings("s", (("access-token", "json"),), None, 300.0),)
    [token] = loaded(text, template="x $access_token").settings.tokens
    assert token.outputs == (SecretOutputSettings("s", (("a", "template"),), "x $access_token"),)


def test_to_secret_replaces_the_outputs_of_the_file(loaded):
    [token] = loaded(TWO_OUTPUTS, to_secret=["a"]).settings.tokens
    assert token.outputs == (SecretOutputSettings("a"),)


def test_permissions_are_refused_without_a_file_output(problems):
    refused = "is for a file, and every output is a Secret"
    assert problems_of({"REFRESHER_MODE": "640"}, key_file="k", to_secret=["a"], group="0") == [
        f"--group: {refused}",
        f"REFRESHER_MODE: {refused}",
    ]
    assert problems(ONE.replace("{file: token, mode: '0640'}", "{secret: s}"), mode="640") == [
        f"--mode: {refused}"
    ]


def test_flags_change_the_leader_election_of_a_file(loaded):
    text = (
        ONE.replace("{file: token, mode: '0640'}", "{secret: s}")
        + "leader_election: {lease: a, duration: 5s}"
    )
    assert loaded(text, lease="b/c").settings.leader_election == LeaderElectionSettings("b/c", 5.0)
    assert loaded(text, lease_duration="4").settings.leader_election == LeaderElectionSettings("a", 4.0)


IN_A_SECRET = ONE.replace("{file: token, mode: '0640'}", "{secret: s}")


@pytest.mark.parametrize(
    ("text", "flags", "environ"),
    [
        (ONE.replace("  key_file: key\n", ""), {"key_file": "key"}, {}),
        (ONE.replace("- name: studio\n ", "-"), {}, {"REFRESHER_NAME": "studio"}),
        ("tokens: [{name: studio, key_file: key}]", {"to_file": ["token"]}, {}),
        (IN_A_SECRET + "leader_election: {duration: 5s}", {}, {"REFRESHER_LEASE": "a"}),
    ],
    ids=["key_file", "name", "outputs", "lease"],
)
def test_a_required_option_may_come_from_a_flag_or_variable(loaded, problems, text, flags, environ):
    """Each option by itself, whatever else the file says about its section."""
    assert len(problems(text)) == 1
    found = loaded(text, environ=environ, **flags).settings
    assert found.tokens[0].name == "studio"
    assert found.tokens[0].key_file.endswith("/key")
    assert len(found.tokens[0].outputs) == 1
    if found.leader_election is not None:
        assert found.leader_election == LeaderElectionSettings("a", 5.0)


def test_a_template_beside_another_format_is_reported_and_not_dropped(problems):
    for output in ("{file: token}", "{secret: s}"):
        text = ONE.replace("{file: token, mode: '0640'}", output)
        [problem] = problems(text, format="json", template="$access_token")
        assert problem.startswith("--template: is for format 'template', and the format is 'json'")


def test_problems_of_a_secret_that_a_variable_describes_name_the_variable():
    [problem] = problems_of({"REFRESHER_FORMAT": "template"}, key_file="k", to_secret=["s"])
    assert problem.startswith("REFRESHER_FORMAT: 'template' needs template")


def test_a_lease_duration_without_a_lease_is_reported():
    [problem] = problems_of(key_file="k", to_secret=["a"], lease_duration="4s")
    assert problem == "--lease: is missing; leader election needs a Lease"


def test_another_format_drops_the_template_of_the_file(loaded):
    text = ONE.replace("mode: '0640'", "format: template, template: $access_token")
    assert loaded(text, format="json").settings.tokens[0].outputs[0].template is None
    assert (
        loaded(text, template="x $access_token").settings.tokens[0].outputs[0].template == "x $access_token"
    )


def test_flags_for_one_token_are_refused_with_a_file_of_several(problems):
    assert problems(TWO, lifetime="1h", to_file=["a", "b"], environ={"REFRESHER_MODE": "0600"}) == [
        f"{flag}: for one token only, and the file has 2; write it into the file"
        for flag in ("--lifetime", "--to-file", "REFRESHER_MODE")
    ]


def test_flags_for_one_output_are_refused_with_a_token_of_several(problems):
    [problem] = problems(TWO_OUTPUTS, format="json")
    assert problem.startswith("--format: for one output only, and the file has 2; ")


def test_issuer_and_listen_fit_any_file(loaded):
    found = loaded(TWO, issuer_url="https://proxy.example", listen="localhost:1").settings
    assert (found.issuer.url, found.listen) == ("https://proxy.example", ListenAddress("localhost", 1))


def test_a_file_may_leave_its_token_to_flags(loaded):
    found = loaded("issuer: {timeout: 3s}", key_file="/k", to_file=["/t"]).settings
    assert (found.issuer.timeout, found.tokens[0].key_file) == (3.0, "/k")


def test_a_problem_in_the_file_is_reported_even_if_a_flag_beats_the_value(problems):
    [problem] = problems(ONE.replace("2h", "2 hours"), lifetime="1h")
    assert "tokens[0].lifetime: '2 hours' is not a duration" in problem


def test_problems_name_the_flag_or_the_variable():
    found = problems_of({"REFRESHER_MODE": "rwx"}, key_file="~/k", to_file=["t", "./t"], lifetime="1:30")
    assert [problem.split(": ")[0] for problem in found] == [
        "--key-file",
        "--lifetime",
        "REFRESHER_MODE",
        "--to-file",
    ]
    assert "is the target of --to-file as well" in found[-1]


@pytest.mark.parametrize(
    ("flags", "where"),
    [
        ({"lifetime": "25h"}, "--lifetime"),
        ({"max_lifetime": "30m"}, "--lifetime"),
        ({"propagation_delay": "30m"}, "--propagation-delay"),
        ({"format": "template"}, "--format"),
        ({"template": "$access_token"}, "--template"),
        ({"lease": "a"}, "--to-file"),
    ],
)
def test_rules_across_options_hold_for_flags_too(flags, where):
    [problem] = problems_of(key_file="k", to_file=["t"], **flags)
    assert problem.startswith(f"{where}: ")


@pytest.mark.parametrize(
    ("flags", "where"),
    [
        ({"propagation_delay": "30m"}, "--propagation-delay"),
        ({"format": "template"}, "--format"),
        ({"template": "$access_token"}, "--template"),
        ({"format": "jsn"}, "--format"),
        ({"to_secret": ["A"]}, "--to-secret"),
        ({"to_secret": ["a", "a"]}, "--to-secret"),
        ({"lease": "A"}, "--lease"),
        ({"lease": "a", "lease_duration": "1s"}, "--lease-duration"),
    ],
)
def test_rules_hold_for_flags_about_kubernetes(flags, where):
    [problem] = problems_of(**({"key_file": "k", "to_secret": ["s"]} | flags))
    assert problem.startswith(f"{where}: ")


def test_without_any_flags_the_shortest_command_that_works_is_shown():
    assert problems_of(command="once") == [
        "--config: no token is configured; the shortest command that works: "
        "refresher once --key-file KEY_FILE --to-file FILE"
    ]
    assert "refresher mint --key-file KEY_FILE" in problems_of(needs=(KEY,), command="mint")[0]


def test_an_incomplete_token_is_reported_by_its_missing_flag():
    assert problems_of(key_file="k")[0].startswith("--to-file: is missing, a token needs an output (")
    assert problems_of(to_file=["t"])[0].startswith("--key-file: is missing; ")


def test_a_command_that_needs_no_outputs_accepts_a_token_without(loaded):
    found = load({"key_file": "/k", "format": "env"}, {}, "/", needs=(KEY,))
    assert found.settings.tokens == (TokenSettings("default", "/k", ()),)
    assert found.format == "env"


def test_a_command_that_needs_no_outputs_changes_none_by_its_format(tmp_path, written):
    written(TWO_OUTPUTS)
    found = load({"config": "refresher.yaml", "format": "env"}, {}, str(tmp_path), needs=(KEY,))
    assert [output.format for output in found.settings.tokens[0].outputs] == ["token", "token"]
    assert (found.format, found.template) == ("env", None)


def test_format_and_template_belong_together_without_outputs_too():
    assert problems_of(key_file="k", format="template", needs=(KEY,))[0].startswith("--format: ")


def test_a_command_that_needs_no_key_accepts_a_token_without():
    found = load({"to_file": ["/t"]}, {}, "/", needs=(OUTPUTS,)).settings
    assert found.tokens == (TokenSettings("default", "", (FileOutputSettings("/t"),)),)


def test_a_command_that_needs_nothing_may_have_no_token():
    assert load({}, {}, "/", needs=()).settings.tokens == ()


@given(
    st.dictionaries(
        st.sampled_from([flags.destination(option) for _, option in flags.declared_flags()]),
        st.text(st.characters(exclude_characters="\0")),
    ),
    st.sampled_from([(KEY, OUTPUTS), (KEY,), (OUTPUTS,), ()]),
)
def test_any_values_of_flags_raise_only_a_configuration_error(arguments, needs):
    for repeated in {"to_file", "to_secret"} & arguments.keys():
        arguments[repeated] = [arguments[repeated], "x"]
    with suppress(ConfigurationError):
        load(arguments, {}, "/nowhere", needs=needs)


# Where each value comes from


def origins(tmp_path, environ=None, **flags):
    return {
        value.path: (value.value, value.origin)
        for value in effective_values(flags, environ or {}, str(tmp_path))
    }


def test_each_value_of_a_file_has_its_line_flag_variable_or_default(tmp_path, written):
    written(TWO_OUTPUTS.replace("file: other", "secret: s"))
    environ = {"REFRESHER_KEY_FILE": "/k", "REFRESHER_LIFETIME": "3h"}
    flags = {"lifetime": "4h", "issuer_timeout": "5s", "listen": "[::1]:9464"}
    found = origins(tmp_path, environ, config="refresher.yaml", **flags)
    assert found["tokens[0].name"] == ("studio", "refresher.yaml:2")
    assert found["tokens[0].key_file"] == ("/k", "REFRESHER_KEY_FILE")
    assert found["tokens[0].lifetime"] == ("4h", "--lifetime")
    assert found["tokens[0].refresh_at"] == ("70%", None)
    assert found["tokens[0].outputs[0].mode"] == ("0640", "refresher.yaml:6")
    assert found["tokens[0].outputs[0].template"] == (None, None)
    assert found["tokens[0].outputs[1].data"] == ({"access-token": "token"}, None)
    assert found["issuer.timeout"] == ("5s", "--issuer-timeout")
    assert found["listen"] == ("[::1]:9464", "--listen")
    assert found["issuer.url"] == ("https://api.inlive.app", None)


def test_each_value_of_flags_alone_has_its_flag_or_default(tmp_path):
    found = origins(tmp_path, {"REFRESHER_FORMAT": "json"}, key_file="/k", to_file=["a"], to_secret=["b"])
    assert found["tokens[0].name"] == ("default", None)
    assert found["tokens[0].outputs[0].file"] == (f"{tmp_path}/a", "--to-file")
    assert found["tokens[0].outputs[0].format"] == ("json", "REFRESHER_FORMAT")
    assert found["tokens[0].outputs[1].data"] == ({"access-token": "json"}, "REFRESHER_FORMAT")
    assert found["tokens[0].outputs[1].propagation_delay"] == ("2m", None)


def test_every_option_in_effect_is_listed_once(tmp_path):
    found = list(effective_values({"key_file": "/k", "to_file": ["a"]}, {}, str(tmp_path)))
    sections = (TokenSettings, IssuerSettings, FileOutputSettings)
    expected = sum(not option.sections for section in sections for option in options_of(section).values())
    assert len({value.path for value in found}) == len(found) == expected + len(("listen",))


def test_the_values_in_effect_are_those_that_are_loaded(tmp_path, written):
    written(ONE)
    flags = {"config": "refresher.yaml", "format": "json"}
    [token] = load(flags, {}, str(tmp_path)).settings.tokens
    found = origins(tmp_path, **flags)
    assert found["tokens[0].key_file"][0] == token.key_file
    assert found["tokens[0].outputs[0].format"] == (token.outputs[0].format, "--format")


# Defaults for all tokens

DEFAULTS = """\
defaults: {key_file: shared, lifetime: 30m}
tokens:
  - name: a
    outputs: [{file: a}]
  - name: b
    key_file: own
    lifetime: 2h
    outputs: [{file: b}]
"""


def test_a_token_takes_the_defaults_for_what_it_does_not_set(tmp_path, written):
    written(DEFAULTS)
    a, b = load({"config": "refresher.yaml"}, {}, str(tmp_path)).settings.tokens
    assert (a.key_file, a.lifetime) == (f"{tmp_path}/shared", 1800.0)
    assert (b.key_file, b.lifetime) == (f"{tmp_path}/own", 7200.0)
    found = origins(tmp_path, config="refresher.yaml")
    assert found["tokens[0].lifetime"] == ("30m", "refresher.yaml:1")
    assert found["tokens[1].lifetime"] == ("2h", "refresher.yaml:7")
    assert not any(path.startswith("defaults") for path in found)


def test_flags_and_variables_beat_the_defaults(tmp_path, written):
    written("defaults: {key_file: shared, lifetime: 30m}\ntokens: [{name: a, outputs: [{file: a}]}]\n")
    given = {"config": "refresher.yaml", "lifetime": "3h"}
    [token] = load(given, {"REFRESHER_KEY_FILE": "/k"}, str(tmp_path)).settings.tokens
    assert (token.key_file, token.lifetime) == ("/k", 10800.0)


def test_a_token_of_flags_takes_the_defaults_too(tmp_path, written):
    written("defaults: {key_file: shared, lifetime: 30m}\n")
    [token] = load({"config": "refresher.yaml", "to_file": ["a"]}, {}, str(tmp_path)).settings.tokens
    assert (token.name, token.key_file, token.lifetime) == ("default", f"{tmp_path}/shared", 1800.0)


def test_a_mistake_in_the_defaults_is_reported_there(tmp_path, written):
    written(DEFAULTS.replace("30m", "1 parsec").replace("shared", "shared, outputs: []"))
    with pytest.raises(ConfigurationError) as raised:
        load({"config": "refresher.yaml"}, {}, str(tmp_path))
    assert [problem.where for problem in raised.value.problems] == [
        "refresher.yaml:1: defaults.outputs",
        "refresher.yaml:1: defaults.lifetime",
    ]
