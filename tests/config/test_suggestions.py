"""A value that a message suggests is accepted. No suggestion leads to another problem."""

import re
from collections.abc import Iterator

import pytest

from refresher.config.declarations import (
    SECTIONS,
    LeaderElectionSettings,
    Settings,
    TokenDefaults,
    TokenSettings,
)
from refresher.config.drafts import example_of
from refresher.config.hooks import ExecHook, HttpHook, PidFileSignal, ProcessSignal
from refresher.config.issuers import IssuerSettings
from refresher.config.json_mint import AnswerSettings, JsonIssuerSettings
from refresher.config.oauth2 import OAuth2IssuerSettings
from refresher.config.options import Option, options_of
from refresher.config.output_kinds import FileOutputSettings, SecretOutputSettings
from refresher.config.serving import ServeSettings

# A configuration in which one line is still to be written.
AROUND: dict[type, str] = {
    Settings: "{line}\ntokens: [{{name: t, key_file: key, outputs: [{{file: f}}]}}]\n",
    IssuerSettings: "issuer:\n  {line}\ntokens: [{{name: t, key_file: key, outputs: [{{file: f}}]}}]\n",
    OAuth2IssuerSettings: "issuers:\n  i:\n    {line}\n"
    "tokens: [{{name: t, key_file: k, outputs: [{{file: f}}]}}]\n",
    JsonIssuerSettings: "issuers:\n  i:\n    {line}\n"
    "tokens: [{{name: t, key_file: k, outputs: [{{file: f}}]}}]\n",
    AnswerSettings: "issuers:\n  i:\n    mint: https://a.example\n    answer:\n      {line}\n"
    "tokens: [{{name: t, key_file: k, outputs: [{{file: f}}]}}]\n",
    ServeSettings: "serve:\n  {line}\ntokens: [{{name: t, key_file: k, outputs: [{{file: f}}]}}]\n",
    LeaderElectionSettings: "leader_election:\n  {line}\n"
    "tokens: [{{name: t, key_file: k, outputs: [{{secret: s}}]}}]\n",
    TokenDefaults: "defaults:\n  {line}\ntokens: [{{name: t, key_file: k, outputs: [{{file: f}}]}}]\n",
    TokenSettings: "tokens:\n- outputs: [{{file: f}}]\n  {line}\n",
    FileOutputSettings: "tokens:\n- name: t\n  key_file: key\n  outputs:\n  - {line}\n",
    SecretOutputSettings: "tokens:\n- name: t\n  key_file: key\n  outputs:\n  - {line}\n",
}
_HOOK = "tokens:\n- name: t\n  key_file: key\n  outputs:\n  - file: f\n    after: "
AROUND[PidFileSignal] = AROUND[ProcessSignal] = _HOOK + "{{signal: {{{line}}}}}\n"
AROUND[ExecHook] = AROUND[HttpHook] = _HOOK + "{{{line}}}\n"
WRONG_VALUES = (
    "9464", "99999", "0", "-1", "1", "0640", "0o640", "0777", "640", "1:30", "12:00", "9999:59", "100:75",
    "70", "0.5", "1.0", "1e3", "0x1F", "no", "Yes", "true", "~", "2026-11-28", "12345678901234567890",
    "studio:t", "My_Token", "jsn", "a b", "/x/", "localhost", "http://localhost",
    "https://h/v1/keys/accesstoken", "$acces_token", "$.data.token", "{}", "[]", "''",
)  # fmt: skip
# Rules across options. Their messages say what is accepted beside the other option.
BETWEEN_OPTIONS = (
    "^is for format|is not declared|^'template' needs|than max_lifetime of its issuer allows|"
    "half of the lifetime|^no request contains"
)
PLAIN = [
    (section, option)
    for section in SECTIONS
    for option in options_of(section).values()
    if not option.sections
]


def line(option: Option, value: str) -> str:
    return f"{option.key}: {value}"


def suggested(message: str, option: Option, value: str) -> Iterator[str]:
    """The values that `message` suggests instead of `value`."""
    yield from re.findall(r'write it in quotes: (".*?")', message)
    if re.search(r"write it in quotes(;|$)", message):
        yield f'"{value}"'
    yield from re.findall(r"did you mean (\S+)\?", message)
    for words in re.findall(r"could be minutes or hours; write (.+)$", message):
        yield from words.split(" or ")
    yield from re.findall(rf"a value such as {option.key}: (.*?)(?:, or take the line out)?$", message)


def of_option(problems: list[str], option: Option) -> list[str]:
    """The problems of the option itself, without those of others."""
    place = re.compile(rf"\S+: (?:\S+\.)?{option.key}(?:\.\S+)?: (.*)", re.DOTALL)
    found = [match[1] for match in map(place.fullmatch, problems) if match]
    return [each for each in found if not re.search(BETWEEN_OPTIONS, each)]


@pytest.mark.parametrize("value", WRONG_VALUES)
@pytest.mark.parametrize(("section", "option"), PLAIN, ids=[f"{at.__name__}.{one.key}" for at, one in PLAIN])
def test_a_suggested_value_is_accepted(loaded_or_problems, section, option, value):
    def problems(given: str) -> list[str]:
        return of_option(loaded_or_problems(AROUND[section].format(line=line(option, given))), option)

    for message in problems(value):
        for instead in suggested(message, option, value):
            assert problems(instead) == [], f"{message!r} led to {instead}"


@pytest.mark.parametrize(("section", "option"), PLAIN, ids=[f"{at.__name__}.{one.key}" for at, one in PLAIN])
def test_each_example_is_accepted(loaded_or_problems, section, option):
    example = example_of(option).removeprefix(f"a value such as {option.key}: ")
    around = AROUND[section].format(line=line(option, example))
    assert of_option(loaded_or_problems(around), option) == []


def test_the_suggestions_are_found(loaded_or_problems):
    """The tests above do not pass merely for want of suggestions."""
    found = {
        (option.key, value, instead)
        for section, option in PLAIN
        for value in WRONG_VALUES
        for message in of_option(loaded_or_problems(AROUND[section].format(line=line(option, value))), option)
        for instead in suggested(message, option, value)
    }
    assert {
        ("listen", "9464", ":9464"),
        ("mode", "0640", '"0640"'),
        ("lifetime", "1:30", "1m30s"),
        ("refresh_at", "70", "70%"),
        ("name", "no", '"no"'),
        ("name", "9464", '"9464"'),
        ("secret", "studio:t", "studio/t"),
        ("format", "jsn", "json"),
        ("access_token", "$.data.token", "data.token"),
    } <= found
    assert ("duration", "12:00", "12h00m") not in found, "that is out of range"
