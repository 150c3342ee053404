"""`refresher wait`: blocks until every output holds a valid token, or reports the outputs without one."""

import json

import pytest

from refresher.core.advice import ADVICE_ON, Code
from refresher.emulator.server import Emulator
from tests.commands.calls import caller
from tests.commands.daemon import KEY, ended, plant, refresher, start


@pytest.fixture
def call(capsys):
    return caller(capsys)


@pytest.fixture
def gate(call, tmp_path):
    """Runs ``refresher wait`` for a file, without a key, by default with a time-out of zero."""

    def perform(*names, timeout="0"):
        files = [word for name in names for word in ("--to-file", tmp_path / name)]
        return call("wait", *files, "--timeout", timeout)

    return perform


def test_wait_returns_at_once_for_a_valid_token(gate, tmp_path):
    plant(tmp_path / "token", age=10.0)
    assert gate("token") == (0, "", "")


def test_every_output_must_hold_a_token(gate, tmp_path):
    for name in ("first", "second"):
        assert gate("first", "second").code == 75
        plant(tmp_path / name, age=10.0)
    assert gate("first", "second").code == 0


def test_every_token_of_the_configuration_must_exist(call, tmp_path):
    tokens = [{"name": name, "key_file": "absent", "outputs": [{"file": name}]} for name in ("a", "b")]
    (tmp_path / "refresher.json").write_text(json.dumps({"tokens": tokens}))
    plant(tmp_path / "a", age=10.0)
    waited = call("wait", "--config", tmp_path / "refresher.json", "--timeout", "0")
    reason = f"holds no token known to be valid; {ADVICE_ON[Code.NO_TOKEN]}"
    assert waited == (75, "", f"refresher: timed out after 0s: file:{tmp_path}/b: {reason}\n")


def test_it_blocks_until_another_process_has_published_a_token(tmp_path):
    (tmp_path / "key").write_text(KEY)
    files = ("--key-file", tmp_path / "key", "--to-file", tmp_path / "token")
    waiting = start("wait", "--to-file", tmp_path / "token", "--timeout", "30s")
    # A second process, which does not wait, has ended: the first has had time to do so, too.
    assert refresher("wait", "--to-file", tmp_path / "token", "--timeout", "0").code == 75
    assert waiting.poll() is None
    with Emulator(keys=[KEY]) as inlive:
        assert refresher("once", "--issuer-url", inlive.url, *files).code == 0
    assert ended(waiting) == (0, "")


def test_a_time_out_reports_each_output_without_a_token_and_the_reason(gate, tmp_path):
    plant(tmp_path / "expired", age=3601.0)
    plant(tmp_path / "valid", age=10.0)
    plant(tmp_path / "of-the-future", age=-60.0)  # written by a clock that was ahead: its expiry is unknown
    (tmp_path / "of-another-program").write_text("whatever")
    (tmp_path / "directory").mkdir()
    waited = gate(
        "absent", "expired", "valid", "of-the-future", "of-another-program", "directory", timeout="300ms"
    )
    assert (waited.code, waited.out) == (75, "")
    assert waited.err.splitlines() == [
        f"refresher: timed out after 0.3s: file:{tmp_path}/{reason}"
        for reason in (
            f"absent: holds no token known to be valid; {ADVICE_ON[Code.NO_TOKEN]}",
            f"expired: its token has expired; {ADVICE_ON[Code.EXPIRED]}",
            f"of-the-future: holds no token known to be valid; {ADVICE_ON[Code.NO_TOKEN]}",
            f"of-another-program: holds no token known to be valid; {ADVICE_ON[Code.NO_TOKEN]}",
            "directory: cannot be read: Is a directory (EISDIR); an output is a file: add the file's name to "
            f"the path; {ADVICE_ON[Code.NOT_READ]}",
        )
    ]


@pytest.mark.parametrize("timeout", ["soon", "-1", "1:30", "", "1e9", "10 s"])
def test_an_invalid_duration_is_reported(gate, tmp_path, timeout):
    plant(tmp_path / "token", age=10.0)
    waited = gate("token", timeout=timeout)
    assert (waited.code, waited.out) == (78, "")
    assert waited.err.startswith("refresher: --timeout: ")
    assert repr(timeout) in waited.err


def test_without_outputs_wait_is_an_error(call):
    waited = call("wait")
    assert waited.code == 78
    assert (
        "no token is configured; the shortest command that works: refresher wait --to-file FILE" in waited.err
    )
