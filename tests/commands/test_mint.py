"""`refresher mint`: a token on standard output and nothing else, or an exit code that says why not."""

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


def test_the_token_and_not_a_byte_more(inlive, key_file):
    process = start("mint", "--issuer-url", inlive.url, "--key-file", key_file)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert inlive.valid(out)  # the emulator knows no token with a line break


@pytest.mark.parametrize(("form", "lines"), [("token", 1), ("env", 1)])
def test_on_a_terminal_the_prompt_does_not_follow_the_token(inlive, key_file, form, lines):
    terminal, its_end = pty.openpty()
    words = ("--issuer-url", inlive.url, "--key-file", key_file, "--format", form)
    with start("mint", *words, stdout=its_end) as process:
        process.communicate(timeout=30)
    os.close(its_end)
    told = os.read(terminal, 4096)
    os.close(terminal)
    assert (told.count(b"\r\n"), told[-2:]) == (lines, b"\r\n")


@pytest.mark.parametrize(
    ("fault", "outcome"), [({"status": 401}, Outcome.KEY_REFUSED), ({"reset": True}, Outcome.UNREACHABLE)]
)
def test_a_failure_ends_with_what_to_do(mint, inlive, fault, outcome):
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
        (("--format", "env"), lambda out: text_after("INLIVE_ACCESS_TOKEN=")(out).removesuffix("\n")),
        (("--format", "json"), lambda out: json.loads(out)["access_token"]),
        (("--format", "inlive-sdk"), lambda out: json.loads(out)["data"]["accessToken"]),
        (("--format", "template", "--template", "X: $access_token"), text_after("X: ")),
    ],
)
def test_every_format_holds_a_valid_token_and_nothing_is_told_beside_it(mint, inlive, words, token_in):
    minted = mint(*words)
    assert (minted.code, minted.err) == (0, "")
    assert inlive.valid(token_in(minted.out))


def test_the_lifetime_is_what_is_asked_for(mint, inlive):
    minted = mint("--lifetime", "15m", "--format", "json")
    assert [seen.expiry_seconds for seen in inlive.counts.recent] == [900]
    assert 890 <= json.loads(minted.out)["expires_in"] <= 900


@pytest.mark.parametrize(
    ("fault", "code", "told"),
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
def test_without_a_token_nothing_is_printed_and_the_exit_code_says_why(mint, inlive, fault, code, told):
    inlive.faults(**fault)
    minted = mint()
    assert (minted.code, minted.out) == (code, "")
    assert minted.err.startswith(f"refresher: {inlive.url}: ")
    assert told in minted.err
    assert KEY not in minted.err


def test_an_issuer_that_does_not_answer_is_waited_for_as_long_as_configured(mint, inlive):
    inlive.faults(hang=True)
    minted = mint("--issuer-timeout", "1s")
    assert (minted.code, minted.out) == (75, "")
    assert "timeout: no whole answer" in minted.err
    assert "within 1 s" in minted.err


def test_nobody_listens(mint, inlive):
    inlive.stop()
    minted = mint()
    assert (minted.code, minted.out) == (75, "")
    assert "unreachable" in minted.err


def test_a_key_that_cannot_be_read_asks_nobody(call, inlive, tmp_path):
    minted = call("mint", "--issuer-url", inlive.url, "--key-file", tmp_path / "absent")
    assert (minted.code, minted.out) == (78, "")
    assert "absent cannot be read: No such file or directory; create or mount it" in minted.err
    assert inlive.counts.mints == 0


@pytest.mark.parametrize(
    "words", [("--format", "xml"), ("--format", "template"), ("--template", "$nonsense"), ("--lifetime", "1")]
)
def test_what_cannot_be_printed_is_refused_before_anybody_is_asked(mint, inlive, words):
    minted = mint(*words)
    assert (minted.code, minted.out) == (78, "")
    assert words[0] in minted.err
    assert inlive.counts.mints == 0


def test_it_publishes_nothing_and_so_knows_no_outputs(mint, tmp_path):
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
def test_a_token_of_a_configuration_is_named(of_two, inlive, tmp_path, name, key):
    minted = of_two(name)
    assert minted.code == 0
    assert inlive.valid(minted.out)
    assert inlive.counts.by_key == {fingerprint(key): 1}
    assert not list(tmp_path.glob("*token-of*"))  # printed, not published


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "refresher: NAME: is missing, and the configuration has several tokens; accepted: studio, stage\n"),
        (("sage",), "refresher: NAME: 'sage' is not in the configuration; accepted: studio, stage\n"),
    ],
)
def test_one_that_is_not_named_or_not_there(of_two, inlive, words, told):
    assert of_two(*words) == (78, "", told)
    assert inlive.counts.mints == 0


def test_a_shell_takes_it_as_its_users_write_it(inlive, key_file):
    """The example of its help: the token ends up in a header, in one piece."""
    process = start(
        "mint", "--issuer-url", inlive.url, "--key-file", key_file, "--format", "template",
        "--template", "Authorization: Bearer $access_token",
    )  # fmt: skip
    shell = ["sh", "-c", 'header="$(cat)"; printf "%s|" "$header"']
    printed = subprocess.run(shell, stdin=process.stdout, capture_output=True, text=True, check=True).stdout
    process.communicate(timeout=30)
    assert printed.startswith("Authorization: Bearer ")
    assert inlive.valid(printed.removeprefix("Authorization: Bearer ").removesuffix("|"))
