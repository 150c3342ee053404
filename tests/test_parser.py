"""Mistakes in the command line: each message gives a suggestion and the usage, and shows no value."""

import pytest

from refresher.cli import COMMANDS, build_parser
from tests.commands.calls import Called, caller
from tests.leaks import leaks

KEY = "Zq1f0/WcT5d9+mN3=x8Hn2XkLm"
PARSERS = build_parser().commands
FLAGS = [(name, action) for name in COMMANDS for action in PARSERS[name].actions if action.option_strings]
LONG = [(name, flag) for name, action in FLAGS for flag in action.option_strings if flag.startswith("--")]
VALUED = [(name, action.option_strings[0]) for name, action in FLAGS if action.nargs not in (0, "?")]
SWITCHES = [(name, flag) for name, action in FLAGS if action.nargs == 0 for flag in action.option_strings]
LACKING = {flag: [each for each in COMMANDS if flag not in PARSERS[each].flags] for _, flag in LONG}
FOREIGN = [(names[0], flag) for flag, names in LACKING.items() if names]  # all have --help
WORDS = {"config": ["schema"], "completion": ["bash"]}  # argparse stops without these


@pytest.fixture
def call(capsys):
    return caller(capsys)


def mistakes(called: Called, prog: str) -> list[str]:
    """The mistakes reported below the usage line of `prog`."""
    usage, *lines = called.err.splitlines()
    assert (called.code, called.out) == (2, "")
    assert usage.startswith(f"usage: {prog} ")
    assert usage.endswith(f" (see {prog} --help)")
    assert all(line.startswith("refresher: ") for line in lines)
    return [line.removeprefix("refresher: ") for line in lines]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_misspelt_command(call, name):
    for given in (name[:-1], name.upper(), name[1] + name[0] + name[2:]):
        (mistake,) = mistakes(call(given), "refresher")
        assert mistake.startswith(f"COMMAND: '{given}' is unknown; did you mean {name}? accepted: ")


def test_an_unknown_command_gets_the_list_of_commands(call):
    (mistake,) = mistakes(call("xyzzy"), "refresher")
    assert mistake == f"COMMAND: 'xyzzy' is unknown; accepted: {', '.join(COMMANDS)}"


def test_other_spellings_of_help_get_a_hint(call):
    (mistake,) = mistakes(call("help"), "refresher")
    assert "did you mean --help?" in mistake


@pytest.mark.parametrize(("name", "flag"), LONG)
def test_a_misspelt_flag(call, name, flag):
    given = flag[:-2] + flag[-1] + flag[-2]
    if given == flag:
        given = flag + flag[-1]
    (mistake,) = mistakes(call(name, *WORDS.get(name, []), given, "value"), f"refresher {name}")
    assert mistake.endswith(f"is not a flag of refresher {name}; did you mean {flag}?")


@pytest.mark.parametrize(("name", "flag"), FOREIGN)
def test_a_flag_of_another_command(call, name, flag):
    (mistake,) = mistakes(call(name, *WORDS.get(name, []), flag, "value"), f"refresher {name}")
    owners = ", ".join(each for each in COMMANDS if flag in PARSERS[each].flags)
    assert f"is not a flag of refresher {name}, but of {owners}" in mistake


@pytest.mark.parametrize(("name", "flag"), VALUED)
def test_a_flag_without_its_value(call, name, flag):
    (mistake,) = mistakes(call(name, flag), f"refresher {name}")
    assert mistake.startswith(f"{flag}: needs a value: {flag}=")
    (mistake,) = mistakes(call(name, flag, "--help"), f"refresher {name}")
    assert mistake.startswith(f"{flag}: needs a value: {flag}=")


@pytest.mark.parametrize(("name", "flag"), SWITCHES)
def test_a_value_for_a_flag_without_one_is_not_shown(call, name, flag):
    called = call(name, f"{flag}={KEY}" if flag.startswith("--") else f"{flag}{KEY}")
    (mistake,) = mistakes(called, f"refresher {name}")
    assert mistake.endswith(": takes no value")
    assert leaks({"said": called.err.encode()}, [KEY]) == []


def test_a_flag_before_its_command(call):
    (mistake,) = mistakes(call("--config", "refresher.yaml", "check"), "refresher")
    assert mistake == "--config: comes after the command, as in refresher run --config"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("--bogus", "--bogus"),
        ("-x", "-x"),
        ("--no-such-flag", "'--no-such-fl'…"),
        ("--a\n\x1b", "'--a\\n\\x1b'"),
    ],
)
def test_an_unknown_flag(call, given, shown):
    assert mistakes(call(given), "refresher") == [f"{shown}: is not a flag of refresher"]


def test_every_mistake_is_reported_at_once(call):
    called = call("run", "--lifetmie", "1h", f"--api-key={KEY}", KEY, f"-k{KEY}", "--every", KEY)
    found = mistakes(called, "refresher run")
    places = [mistake.partition(": ")[0] for mistake in found]
    assert places == ["--lifetmie", "--api-key", "…", "-k…", "--every"]
    assert leaks({"said": called.err.encode()}, [KEY]) == []


@pytest.mark.parametrize("words", [("mint", "a", KEY), ("run", KEY), ("check", "--offline", KEY)])
def test_an_unexpected_argument_is_not_shown(call, words):
    called = call(*words)
    (mistake,) = mistakes(called, f"refresher {words[0]}")
    assert mistake.startswith(f"…: refresher {words[0]} takes no such argument")
    assert leaks({"said": called.err.encode()}, [KEY]) == []


def test_a_missing_argument(call):
    assert mistakes(call("config"), "refresher config") == ["show|schema: is missing"]


def test_a_misspelt_argument(call):
    (mistake,) = mistakes(call("config", "shema"), "refresher config")
    assert mistake == "show|schema: 'shema' is unknown; did you mean schema? accepted: show, schema"


def test_two_flags_that_exclude_each_other(call):
    (mistake,) = mistakes(call("emulator", "--key-file", "a", "--write-key", "b"), "refresher emulator")
    assert mistake == "--write-key: not allowed with argument --key-file"


def test_without_a_command_the_help_is_shown_with_exit_code_2(call):
    helped, alone = call("--help"), call()
    assert (helped.code, alone.code) == (0, 2)
    assert (alone.out, alone.err) == ("", helped.out)
