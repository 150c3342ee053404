"""What a daemon logs about a failing issuer is what its status shows."""

import pytest

from refresher.core.rfc3339 import parse
from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY, Daemon

FAULTS = {
    "server_error": {"status": 500},
    "throttled": {"status": 429, "retry_after": "30"},
    "unreachable": {"reset": True},
    "timeout": {"hang": True},
    "bad_response": {"garbage": True},
    "key_refused": {},
}


@pytest.mark.parametrize("code", FAULTS)
def test_a_failing_issuer_has_the_same_facts_in_the_log_and_in_the_status(code, tmp_path):
    key = "another-key-that-is-refused" if code == "key_refused" else KEY
    (tmp_path / "key").write_text(key)
    with Emulator(keys=[KEY]) as inlive:
        if FAULTS[code]:
            inlive.faults(**FAULTS[code])
        words = ("--key-file", tmp_path / "key", "--to-file", tmp_path / "token", "--issuer-url", inlive.url)
        with Daemon(*words, "--issuer-timeout", "1s", endpoints=True) as daemon:
            entry = daemon.wait_for("RefreshFailed")
            (token,) = daemon.get("/status").document["tokens"]
    (problem,) = (each for each in token["problems"] if each["code"] == code)
    assert entry["outcome"] == code
    assert abs(parse(problem["since"]) - parse(entry["since"])) <= 1, "fractions are dropped"
    assert problem["count"] >= entry["failures"] == 1
    assert problem["advice"] == entry["advice"]
    assert problem["advice"] in entry["message"]
