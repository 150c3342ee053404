"""`refresher wait`: blocks until every output holds a valid token, or says what is lacking."""

import json

import pytest

from refresher.emulator.server import Emulator
from tests.commands.calls import caller
from tests.commands.daemon import KEY, ended, plant, refresher, start


@pytest.fixture
def call(capsys):
    return caller(capsys)


@pytest.fixture
def gate(call, tmp_path):
    """``refresher wait`` for a file, which by default is not waited for at all. There is no key anywhere."""

    def perform(*names, timeout="0"):
        files = [word for name in names for word in ("--to-file", tmp_path / name)]
        return call("wait", *files, "--timeout", timeout)

    return perform


def test_a_valid_token_is_not_waited_for(gate, tmp_path):
    plant(tmp_path / "token", age=10.0)
    assert gate("token") == (0, "", "")


def test_every_output_must_hold_one(gate, tmp_path):
    for name in ("first", "second"):
        assert gate("first", "second").code == 75
        plant(tmp_path / name, age=10.0)
    assert gate("first", "second").code == 0


def test_every_token_of_a_configuration_must_be_there(call, tmp_path):
    tokens = [{"name": name, "key_file": "absent", "outputs": [{"file": name}]} for name in ("a", "b")]
    (tmp_path / "refresher.json").write_text(json.dumps({"tokens": tokens}))
    plant(tmp_path / "a", age=10.0)
    waited = call("wait", "--config", tmp_path / "refresher.json", "--timeout", "0")
    assert waited == (75, "", f"refresher: not within 0s: file:{tmp_path}/b holds no token\n")


def test_it_blocks_until_another_process_has_published_a_token(tmp_path):
    (tmp_path / "key").write_text(KEY)
    files = ("--key-file", tmp_path / "key", "--to-file", tmp_path / "token")
    waiting = start("wait", "--to-file", tmp_path / "token", "--timeout", "30s")
    # One that starts later and does not wait has come to its end: the first has had time to do so, too.
    assert refresher("wait", "--to-file", tmp_path / "token", "--timeout", "0").code == 75
    assert waiting.poll() is None
    with Emulator(keys=[KEY]) as inlive:
        assert refresher("once", "--issuer-url", inlive.url, *files).code == 0
    assert ended(waiting) == (0, "")


def test_when_time_is_up_each_output_that_lacks_a_token_is_named_with_the_reason(gate, tmp_path):
    plant(tmp_path / "expired", age=3601.0)
    plant(tmp_path / "valid", age=10.0)
    plant(tmp_path / "of-the-future", age=-60.0)  # of a clock that was ahead: nobody knows its end
    (tmp_path / "of-another-program").write_text("whatever")
    (tmp_path / "directory").mkdir()
    waited = gate(
        "absent", "expired", "valid", "of-the-future", "of-another-program", "directory", timeout="300ms"
    )
    assert (waited.code, waited.out) == (75, "")
    assert waited.err.splitlines() == [
        f"refresher: not within 0.3s: file:{tmp_path}/{told}"
        for told in (
            "absent holds no token",
            "expired holds an expired token",
            "of-the-future holds no token",
            "of-another-program holds no token",
            "directory cannot be read: Is a directory (EISDIR); "
            "an output is a file: add the file's name to the path",
        )
    ]


@pytest.mark.parametrize("timeout", ["soon", "-1", "1:30", "", "1e9", "10 s"])
def test_what_is_no_duration(gate, tmp_path, timeout):
    plant(tmp_path / "token", age=10.0)
    waited = gate("token", timeout=timeout)
    assert (waited.code, waited.out) == (78, "")
    assert waited.err.startswith("refresher: --timeout: ")
    assert repr(timeout) in waited.err


def test_nothing_to_wait_for(call):
    waited = call("wait")
    assert waited.code == 78
    assert (
        "no token is configured; the shortest command that works: refresher wait --to-file FILE" in waited.err
    )
