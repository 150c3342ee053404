import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.config import flags
from refresher.config.declarations import SECTIONS, TokenDefaults
from refresher.config.json_mint import JsonIssuerSettings
from refresher.config.loader import load
from refresher.config.oauth2 import OAuth2IssuerSettings
from refresher.config.options import options_of, sections_below
from refresher.config.output_kinds import FileOutputSettings
from refresher.errors import ConfigurationError, Problem


def parser(groups=flags.GROUPS):
    built = argparse.ArgumentParser(allow_abbrev=False)
    flags.add_flags(built, groups)
    return built


def test_every_plain_option_but_those_of_hooks_has_a_flag_and_a_variable_of_its_own():
    """Flags describe one token for a trial: they neither remove an output nor decorate it."""
    below = {*sections_below(FileOutputSettings), *sections_below(JsonIssuerSettings)}
    in_the_file_only = {*below, TokenDefaults, OAuth2IssuerSettings, JsonIssuerSettings}
    plain = [
        option
        for section in (*(SECTIONS.keys() - in_the_file_only), flags.LogSettings)
        for option in options_of(section).values()
        if not option.sections
        and option.key not in {"on_remove", "labels", "annotations", "issuer", "max_rate", "exclusive"}
    ]
    declared = [option for _, option in flags.declared_flags()]
    assert {option.flag for option in plain} | {"--config"} == {option.flag for option in declared}
    assert len({option.variable for option in declared}) == len(declared)
    assert len({flags.destination(option) for option in declared}) == len(declared)
    assert {option.group for option in declared} == set(flags.GROUPS)


def test_the_loader_takes_what_the_parser_returns():
    arguments = parser().parse_args(["--key-file=/k", "--to-file", "/a", "--to-file", "/b", "--name", "x"])
    [token] = load(vars(arguments), {}, "/").settings.tokens
    assert (token.name, [output.path for output in token.outputs]) == ("x", ["/a", "/b"])


def test_a_command_has_only_the_flags_of_its_groups():
    arguments = parser(("config", "issuer")).parse_args([])
    assert set(vars(arguments)) == {
        "config",
        "issuer_url",
        "issuer_timeout",
        "ca_file",
        "max_lifetime",
        "verify_url",
    }


def test_help_shows_default_and_variable():
    text = " ".join(parser().format_help().split())
    assert "How long each token lives, in whole seconds. Default: 1h. [REFRESHER_LIFETIME]" in text
    assert "Default: 70%. [REFRESHER_REFRESH_AT]" in text
    assert "Default: 0600. [REFRESHER_MODE]" in text
    assert "Default: 0s. Of a Secret: 2m. [REFRESHER_PROPAGATION_DELAY]" in text
    assert "Default: token. In a Secret its key is access-token. [REFRESHER_FORMAT]" in text
    assert "separates several by a colon. [REFRESHER_TO_SECRET]" in text


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("REFRESHER_LIFETME", "REFRESHER_LIFETIME"),
        ("REFRESHER_KEYFILE", "REFRESHER_KEY_FILE"),
        ("REFRESHER_TO_FILES", "REFRESHER_TO_FILE"),
        ("REFRESHER_TO_SECRETS", "REFRESHER_TO_SECRET"),
        ("REFRESHER_LEASES", "REFRESHER_LEASE"),
        ("REFRESHER_ISSUER_URI", "REFRESHER_ISSUER_URL"),
    ],
)
def test_a_misspelt_variable_leads_to_a_warning(name, meant):
    found = load({"key_file": "k", "to_file": ["t"]}, {name: "hunter2"}, "/").warnings
    assert found == (Problem(name, f"has no effect; did you mean {meant}?"),)


@pytest.mark.parametrize("name", ["REFRESHER_KEY", "REFRESHER_API_KEY", "REFRESHER_APPLICATION_KEY"])
def test_a_key_in_the_environment_leads_to_a_warning_without_the_key(name):
    [warning] = flags.doubtful_variables({name: "hunter2"})
    assert "the file that REFRESHER_KEY_FILE names" in str(warning)
    assert "hunter2" not in str(warning)


@pytest.mark.parametrize(
    "name",
    [
        "REFRESHER_SERVICE_HOST",
        "REFRESHER_SERVICE_PORT",
        "REFRESHER_SERVICE_PORT_LISTEN",
        "REFRESHER_PORT",
        "REFRESHER_PORT_9464_TCP",
        "REFRESHER_PORT_9464_TCP_ADDR",
        "REFRESHER_FORMAT_PORT_9464_TCP_PROTO",
        "REFRESHER_WHOLLY_ELSE",
        "OTHER_LIFETME",
        "REFRESHER_LIFETIME",
        "REFRESHER_OWNER",
        "REFRESHER_LOG_LEVEL",
    ],
)
def test_variables_of_kubernetes_and_unrelated_ones_are_ignored(name):
    assert flags.doubtful_variables({name: "x"}) == ()


def test_an_unprintable_name_is_quoted_and_escaped():
    [warning] = flags.doubtful_variables({"REFRESHER_LIFE\nTME": "1h"})
    assert str(warning).startswith("'REFRESHER_LI'…: has no effect; did you mean REFRESHER_LIFETIME?")


def test_a_misspelt_variable_is_reported_beside_the_problem_it_caused():
    with pytest.raises(
        ConfigurationError, match="REFRESHER_KEYFILE: has no effect; did you mean REFRESHER_KEY_FILE"
    ):
        load({"to_file": ["t"]}, {"REFRESHER_KEYFILE": "/k"}, "/")


@given(st.dictionaries(st.text(max_size=20).map("REFRESHER_".__add__), st.just("hunter2")))
def test_a_warning_about_any_variable_is_one_line_without_its_value(environ):
    for warning in flags.doubtful_variables(environ):
        assert str(warning).isprintable()
        assert "hunter2" not in str(warning)
