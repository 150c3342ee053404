"""Processes that tests kill or obstruct: ``python -m tests.outputs.victims COMMAND PATH [GROUP]``."""

import json
import logging
import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

from refresher.core.formats import Format
from refresher.errors import OutputError
from refresher.outputs.file import FileOutput, Plan
from tests.outputs.tokens import NOW, SEALER, a_token

NOBODY = 65534
LARGE = 20_000


def output_at(path: Path, group: str | None = None) -> FileOutput:
    return FileOutput(Plan(str(path), "https://api.inlive.app", Format("json"), group=group))


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The output of a victim that writes and inspects."""
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    result = json.loads(out)
    assert isinstance(result, dict)
    return result


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def write_without_end(path: Path) -> None:
    """Print a line, then write values until killed."""
    output = output_at(path)
    say("writing")
    for number in count(1):
        output.write(a_token(number, size=LARGE * (number % 2)), NOW, SEALER)


def die_before_every_line(path: Path) -> None:
    """For each line that a write executes, print the state after a kill before that line."""
    for line in count(1):
        folder = path / str(line)
        folder.mkdir()
        output = output_at(folder / "access-token")
        output.write(a_token(1), NOW, SEALER)
        child = os.fork()
        if child == 0:
            sys.settrace(_killing_before(line))
            output.write(a_token(2), NOW + 1, SEALER)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            return
        say(str(folder))


def _killing_before(line):
    left = line

    def trace(frame, event, argument):
        nonlocal left
        if os.path.basename(os.path.dirname(frame.f_code.co_filename)) != "outputs":
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def hold(path: Path) -> None:
    """Claim the output, write a value, print a line, and keep running."""
    output = output_at(path)
    output.claim()
    output.write(a_token(1), NOW, SEALER)
    say("holding")
    signal.pause()


def write_as_nobody(path: Path, group: str | None = None) -> None:
    """`write_and_look` without root's permissions."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    write_and_look(path, group)


def write_and_look(path: Path, group: str | None = None) -> None:
    """DryRun, write a small value, then a large one, then look: print what came of each, and the files that
    there are."""
    output = output_at(path, group)
    result: dict[str, object] = {}
    try:
        result["dry run"] = output.dry_run()
    except OutputError as error:
        result["dry run"] = str(error)
    for name, token in (("small", a_token(1)), ("large", a_token(2, size=LARGE))):
        try:
            result[name] = output.write(token, NOW, SEALER)
        except OutputError as error:
            result[name] = str(error)
    try:
        facts = output.inspect(NOW).facts
        result["found"] = facts and facts.fingerprint
    except OutputError as error:
        result["found"] = str(error)
    result["files"] = sorted(os.listdir(path.parent))
    say(json.dumps(result))


def write_twice(path: Path, mode: str, group: str | None = None, beneath: str | None = None) -> None:
    """Write with that mode and group, and print what a look finds, of this process and of the next, what was
    logged, and what a dry run reports. `beneath` is where the file is that is seen at `path`: its mode is
    altered there, and it is looked at again."""
    logged: list[str] = []
    sink = logging.Handler()
    sink.emit = lambda entry: logged.append(entry.getMessage())  # type: ignore[method-assign]
    logging.getLogger("refresher").addHandler(sink)

    def output() -> FileOutput:
        return FileOutput(Plan(str(path), "https://api.inlive.app", mode=int(mode, 8), group=group))

    ours = output()
    tried = ours.dry_run()
    for number in (1, 2):
        ours.write(a_token(number), NOW, SEALER)
    intact = ours.inspect(NOW).intact, output().inspect(NOW).intact
    if beneath is not None:
        os.chmod(beneath, 0o404)
    say(json.dumps({
        "dry run": tried,
        "intact": intact,
        "intact_in_the_end": ours.inspect(NOW).intact,
        "logged": logged,
    }))  # fmt: skip


if __name__ == "__main__":
    commands = {
        "write-without-end": write_without_end,
        "die-before-every-line": die_before_every_line,
        "hold": hold,
        "write-twice": write_twice,
        "write-as-nobody": write_as_nobody,
        "write-and-look": write_and_look,
    }
    commands[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
