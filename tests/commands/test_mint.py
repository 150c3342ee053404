"""`refresher mint`: prints a token and nothing else, or ends with an exit code that gives the reason."""

import json
import os
import pty
import subprocess

import pytest

from refresher.core.advice import ADVICE
from refresher.core.model import Outcome, fingerprint
from refresher.emulator.server import Emulator
from tests.commands.calls import caller
from tests.commands.daemon import KEY, start

OTHER_KEY = "application-key-of-another-token-7Tz"


@pytest.fixture
def inlive():
    with Emulator(keys=[KEY, OTHER_KEY]) as started:
        yield started


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY)
    return path


@pytest.fixture
def call(capsys):
    return caller(capsys)


@pytest.fixture
def mint(call, inlive, key_file):
    return lambda *words: call("mint", "--issuer-url", inlive.url, "--key-file", key_file, *words)


def test_mint_prints_the_token_and_no_other_byte(inlive, key_file):
    process = start("mint", "--issuer-url", inlive.url, "--key-file", key_file)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert inlive.valid(out)  # the emulator accepts no token with a line break


@pytest.mark.parametrize(("format_", "lines"), [("token", 1), ("env", 1)])
def test_on_a_terminal_the_token_ends_with_a_line_break(inlive, key_file, format_, lines):
    terminal, its_end = pty.openpty()
    words = ("--issuer-url", inlive.url, "--key-file", key_file, "--format", format_)
    with start("mint", *words, stdout=its_end) as process:
        process.communicate(timeout=30)
    os.close(its_end)
    message = os.read(terminal, 4096)
    os.close(terminal)
    assert (message.count(b"\r\n"), message[-2:]) == (lines, b"\r\n")


@pytest.mark.parametrize(
    ("fault", "outcome"), [({"status": 401}, Outcome.KEY_REFUSED), ({"reset": True}, Outcome.UNREACHABLE)]
)
def test_a_failure_ends_with_advice(mint, inlive, fault, outcome):
    inlive.faults(**fault)
    assert mint().err.endswith(f"; {ADVICE[outcome]}\n")


def text_after(before):
    return lambda out: out.removeprefix(before) if out.startswith(before) else ""


@pytest.mark.parametrize(
    ("words", "token_in"),
    [
        ((), text_after("")),
        (("--format", "token"), text_after("")),
        (("--format", "bearer"), text_after("Bearer ")),
        (("--format", "header"), lambda out: text_after("Authorization: Bearer ")(out).removesuffix("\n")),
        (
            ("--format", "envoy-sds"),
            lambda out: text_after("Bearer ")(
                json.loads(out)["resources"][0]["generic_secret"]["secret"]["inline_string"]
            ),
        ),
        (("--format", "env"), lambda out: text_after("INLIVE_ACCESS_TOKEN=")(out).removesuffix("\n")),
        (("--format", "json"), lambda out: json.loads(out)["access_token"]),
        (("--format", "inlive-sdk"), lambda out: json.loads(out)["data"]["accessToken"]),
        (("--format", "template", "--template", "X: $access_token"), text_after("X: ")),
    ],
)
def test_every_format_contains_a_valid_token_and_standard_error_is_empty(mint, inlive, words, token_in):
    minted = mint(*words)
    assert (minted.code, minted.err) == (0, "")
    assert inlive.valid(token_in(minted.out))


def test_the_mint_request_has_the_given_lifetime(mint, inlive):
    minted = mint("--lifetime", "15m", "--format", "json")
    assert [seen.expiry_seconds for seen in inlive.counts.recent] == [900]
    assert 890 <= json.loads(minted.out)["expires_in"] <= 900


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ({"status": 401}, 77, "key_refused: 401"),
        ({"status": 403}, 77, "key_refused: 403"),
        ({"status": 429}, 75, "throttled: 429"),
        ({"status": 500}, 75, "server_error: 500"),
        ({"garbage": True}, 75, "bad_response: 200, but it is not JSON"),
        ({"redirect": "http://127.0.0.1:1/"}, 75, "not followed"),
        ({"reset": True}, 75, "unreachable"),
    ],
)
def test_a_failed_mint_prints_nothing_and_its_exit_code_gives_the_reason(mint, inlive, fault, code, message):
    inlive.faults(**fault)
    minted = mint()
    assert (minted.code, minted.out) == (code, "")
    assert minted.err.startswith(f"refresher: {inlive.url}: ")
    assert message in minted.err
    assert KEY not in minted.err


def test_mint_waits_for_a_silent_issuer_as_long_as_configured(mint, inlive):
    inlive.faults(hang=True)
    minted = mint("--issuer-timeout", "1s")
    assert (minted.code, minted.out) == (75, "")
    assert "timeout: no complete response" in minted.err
    assert "within 1 s" in minted.err


def test_an_issuer_that_refuses_connections(mint, inlive):
    inlive.stop()
    minted = mint()
    assert (minted.code, minted.out) == (75, "")
    assert "unreachable" in minted.err


def test_an_unreadable_key_sends_no_request(call, inlive, tmp_path):
    minted = call("mint", "--issuer-url", inlive.url, "--key-file", tmp_path / "absent")
    assert (minted.code, minted.out) == (78, "")
    assert "absent cannot be read: No such file or directory; create or mount it" in minted.err
    assert inlive.counts.mints == 0


@pytest.mark.parametrize(
    "words", [("--format", "xml"), ("--format", "template"), ("--template", "$nonsense"), ("--lifetime", "1")]
)
def test_a_bad_format_is_refused_before_a_request(mint, inlive, words):
    minted = mint(*words)
    assert (minted.code, minted.out) == (78, "")
    assert words[0] in minted.err
    assert inlive.counts.mints == 0


def test_mint_has_no_output_flags(mint, tmp_path):
    minted = mint("--to-file", tmp_path / "token")
    assert minted.code == 2
    assert not (tmp_path / "token").exists()


@pytest.fixture
def of_two(call, inlive, key_file, tmp_path):
    """``refresher mint`` with a configuration of two tokens, each with a key of its own."""
    (tmp_path / "other-key").write_text(OTHER_KEY)
    document = {
        "issuer": {"url": inlive.url},
        "tokens": [
            {"name": name, "key_file": key, "outputs": [{"file": f"token-of-{name}"}]}
            for name, key in (("studio", "key"), ("stage", "other-key"))
        ],
    }
    (tmp_path / "refresher.yaml").write_text(json.dumps(document))
    return lambda *words: call("mint", "--config", tmp_path / "refresher.yaml", *words)


@pytest.mark.parametrize(("name", "key"), [("studio", KEY), ("stage", OTHER_KEY)])
def test_name_selects_a_token_of_the_configuration(of_two, inlive, tmp_path, name, key):
    minted = of_two(name)
    assert minted.code == 0
    assert inlive.valid(minted.out)
    assert inlive.counts.by_key == {fingerprint(key): 1}
    assert not list(tmp_path.glob("*token-of*"))  # printed, not published


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            (),
            "refresher: NAME: is missing, and the configuration has several tokens; "
            "accepted: studio, stage\n",
        ),
        (
            ("sage",),
            "refresher: NAME: 'sage' is not in the configuration; did you mean stage? "
            "accepted: studio, stage\n",
        ),
    ],
)
def test_a_missing_or_unknown_name_is_reported(of_two, inlive, words, message):
    assert of_two(*words) == (78, "", message)
    assert inlive.counts.mints == 0


def test_the_example_of_the_help_works_in_a_shell(inlive, key_file):
    """The token ends up in a header, in one piece."""
    process = start(
        "mint", "--issuer-url", inlive.url, "--key-file", key_file, "--format", "template",
        "--template", "Authorization: Bearer $access_token",
    )  # fmt: skip
    shell = ["sh", "-c", 'header="$(cat)"; printf "%s|" "$header"']
    printed = subprocess.run(shell, stdin=process.stdout, capture_output=True, text=True, check=True).stdout
    process.communicate(timeout=30)
    assert printed.startswith("Authorization: Bearer ")
    assert inlive.valid(printed.removeprefix("Authorization: Bearer ").removesuffix("|"))
