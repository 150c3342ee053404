"""`refresher exec`: COMMAND gets a token, and otherwise the process that its caller started."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY, STOP_WITHIN, Ended, ended, eventually, plant, refresher, start

# Prints what it is made of. The descriptor of the listing itself is not one of them.
SHOWS = """\
import json, os, resource, signal, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "arguments": sys.argv[1:],
    "environment": dict(os.environ),
    "files": [os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")
              if os.path.exists(f"/proc/self/fd/{each}")],
    "blocked": int(status["SigBlk"], 16),
    "ignored": int(status["SigIgn"], 16),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
}))
"""
PYTHON_IGNORES = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1  # each new interpreter does so


def words(issuer: Emulator, place: Path, *more: object) -> tuple[object, ...]:
    return ("exec", "--key-file", place / "key", "--issuer-url", issuer.url, *more)


def shown(process: Ended) -> dict:
    assert process.code == 0, process.said
    return json.loads(process.said)


def run_python(issuer: Emulator, place: Path, *more: object, code: str = SHOWS, **environ: str) -> Ended:
    return refresher(*words(issuer, place, *more), "--", sys.executable, "-c", code, **environ)


def test_the_command_gets_a_valid_token_and_its_own_arguments(issuer, place):
    arguments = ["two words", "--", "--key-file", "", "-c"]
    found = shown(refresher(*words(issuer, place), "--", sys.executable, "-c", SHOWS, *arguments))
    assert found["arguments"] == arguments
    assert issuer.valid(found["environment"]["INLIVE_ACCESS_TOKEN"])
    assert issuer.counts.mints == 1


def test_the_variable_has_the_given_name(issuer, place):
    environment = shown(run_python(issuer, place, "--env", "TOKEN"))["environment"]
    assert issuer.valid(environment["TOKEN"])
    assert "INLIVE_ACCESS_TOKEN" not in environment


def test_the_command_has_no_key_and_none_of_our_variables(issuer, place):
    found = run_python(
        issuer, place, REFRESHER_LIFETIME="20m", REFRESHER_SERVICE_HOST="10.0.0.1",
        SSLKEYLOGFILE=str(place / "log"), OTHER="kept",
    )  # fmt: skip
    environment = shown(found)["environment"]
    assert [name for name in environment if name.startswith("REFRESHER_")] == []
    assert (environment["OTHER"], environment["SSLKEYLOGFILE"]) == ("kept", str(place / "log"))
    assert KEY not in found.said
    assert not any(str(place) in file for file in shown(found)["files"])


def test_the_command_starts_with_the_signals_and_limits_of_our_caller(issuer, place):
    before = resource.getrlimit(resource.RLIMIT_CORE)
    ours = (4096, before[1])
    resource.setrlimit(resource.RLIMIT_CORE, ours)
    try:
        found = shown(run_python(issuer, place))
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    assert tuple(found["core"]) == ours
    lines = Path("/proc/self/status").read_text().splitlines()
    ignored = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn"))
    assert (found["blocked"], found["ignored"] | PYTHON_IGNORES) == (0, ignored | PYTHON_IGNORES)


def test_a_pipe_that_nobody_reads_ends_the_command_as_in_a_shell(issuer, place):
    with start(*words(issuer, place), "--", "yes") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(STOP_WITHIN) == -signal.SIGPIPE


def test_standard_input_is_the_commands(issuer, place):
    line = [sys.executable, "-m", "refresher", *map(str, words(issuer, place)), "--", "cat"]
    done = subprocess.run(line, input=b"\0 as it is\n", capture_output=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == (b"\0 as it is\n", b"")


@pytest.mark.parametrize("code", [0, 1, 75, 255])
def test_the_exit_code_is_the_commands(issuer, place, code):
    assert run_python(issuer, place, code=f"raise SystemExit({code})").code == code


def test_a_signal_reaches_the_command_because_it_is_the_same_process(issuer, place):
    with start(*words(issuer, place), "--", "sh", "-c", "echo $$; exec sleep 60") as process:
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_WITHIN) == -signal.SIGTERM


@pytest.mark.parametrize("age", [60.0, 3500.0])
def test_a_token_in_an_output_is_used_unless_it_is_due(issuer, place, age):
    old = plant(place / "token", age=age, issuer=issuer.url)
    environment = shown(run_python(issuer, place, "--to-file", place / "token"))["environment"]
    assert (environment["INLIVE_ACCESS_TOKEN"] == old) is (age < 3000)
    assert issuer.counts.mints == (age > 3000)
    assert (place / "token").read_text() == environment["INLIVE_ACCESS_TOKEN"]


def test_an_output_that_cannot_be_written_does_not_keep_the_command_from_its_token(issuer, place):
    done = run_python(issuer, place, "--to-file", place / "missing" / "token", code="print('started')")
    assert (done.code, "started\n" in done.said, "missing" in done.said) == (0, True, True)


@pytest.mark.parametrize(
    ("fault", "code"), [({"status": 401}, 77), ({"status": 503}, 75), ({"reset": True}, 75)]
)
def test_without_a_token_the_command_does_not_start(issuer, place, fault, code):
    issuer.faults(**fault)
    done = run_python(issuer, place, code="print('started')")
    assert (done.code, "started" in done.said) == (code, False)
    assert done.said


def test_without_a_key_the_command_does_not_start(issuer, place):
    (place / "key").unlink()
    done = run_python(issuer, place, code="print('started')")
    assert (done.code, "started" in done.said) == (78, False)


def test_a_command_that_does_not_exist_is_127_and_one_that_is_not_executable_126(issuer, place):
    (place / "text").write_text("text")
    missing = refresher(*words(issuer, place), "--", place / "none")
    closed = refresher(*words(issuer, place), "--", place / "text")
    assert (missing.code, closed.code) == (127, 126)
    assert "cannot be executed: No such file or directory\n" in missing.said
    assert "cannot be executed: Permission denied\n" in closed.said


@pytest.mark.parametrize("more", [(), ("--",), ("env",)])
def test_a_missing_command_is_a_wrong_use_and_mints_nothing(issuer, place, more):
    done = refresher(*words(issuer, place), *more)
    assert done.code == 2
    assert "COMMAND: is missing; write it after --" in done.said
    assert issuer.counts.mints == 0


@pytest.mark.parametrize("words_of_an_output", [("--format", "json"), ("--mode", "0640")])
def test_an_option_of_an_output_needs_an_output(issuer, place, words_of_an_output):
    done = run_python(issuer, place, *words_of_an_output)
    assert (done.code, "--to-file: is missing" in done.said) == (78, True)


@pytest.mark.parametrize("name", ["", "1A", "A=B", "REFRESHER_TOKEN"])
def test_a_bad_name_of_the_variable_is_refused(issuer, place, name):
    done = run_python(issuer, place, f"--env={name}")
    assert (done.code, "refresher: --env: " in done.said) == (78, True)
    assert issuer.counts.mints == 0


def test_sigterm_before_the_token_is_there_starts_no_command(issuer, place):
    issuer.faults(hang=True)
    process = start(*words(issuer, place), "--", "echo", "started")
    eventually(lambda: issuer.counts.mints, "a mint under way")
    process.send_signal(signal.SIGTERM)
    done = ended(process)
    assert (done.code, "started" in done.said) == (128 + signal.SIGTERM, False)


@pytest.mark.parametrize(("name", "code"), [("stage", 0), ("none-such", 78), (None, 78)])
def test_one_of_several_tokens_is_chosen_by_name(issuer, place, name, code):
    tokens = [{"name": each, "key_file": str(place / "key"), "outputs": [{"file": str(place / each)}]}
              for each in ("studio", "stage")]  # fmt: skip
    (place / "c.json").write_text(json.dumps({"issuer": {"url": issuer.url}, "tokens": tokens}))
    chosen = () if name is None else (name,)
    done = refresher("exec", "--config", place / "c.json", *chosen, "--", "printenv", "INLIVE_ACCESS_TOKEN")
    assert done.code == code
    assert issuer.counts.mints == (code == 0)
    assert [each for each in ("studio", "stage") if os.path.exists(place / each)] == ["stage"] * (code == 0)
