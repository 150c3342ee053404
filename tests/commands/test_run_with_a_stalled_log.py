"""`refresher run` with a log that is not read: it keeps refreshing tokens, and SIGTERM ends it in time."""

import contextlib
import json
import os
import signal
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from refresher.emulator.server import Emulator
from refresher.logs.stream import LIMIT
from tests.commands.daemon import KEY, Daemon, eventually, parsed, start

REFRESHES = 3
TOKENS = 300


@contextmanager
def full_pipe() -> Iterator[int]:
    """A full pipe without a reader."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, 4096 * b"x"):
            pass
    os.set_blocking(writer, True)
    yield writer
    os.close(writer)
    os.close(reader)


@contextmanager
def stopped_terminal() -> Iterator[int]:
    """A terminal stopped with Ctrl-S."""
    ours, theirs = os.openpty()
    termios.tcflow(theirs, termios.TCOOFF)
    yield theirs
    os.close(theirs)
    os.close(ours)


@contextmanager
def full_disk() -> Iterator[int]:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@contextmanager
def gone() -> Iterator[int]:
    """A pipe whose reader has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture
def inlive() -> Iterator[Emulator]:
    with Emulator(keys=[KEY]) as emulated:
        yield emulated


def words(inlive: Emulator, place: Path) -> tuple[object, ...]:
    (place / "key").write_text(KEY)
    return (
        *("--key-file", place / "key", "--to-file", place / "token", "--lifetime", "1h"),
        *("--issuer-url", inlive.url, "--log-level", "debug"),
    )


@pytest.mark.parametrize("log", [full_pipe, stopped_terminal, full_disk, gone])
def test_a_stalled_log_delays_neither_the_token_nor_sigterm(log, inlive, tmp_path):
    """Warnings printed before the first log line delay nothing, either."""
    token, seen = tmp_path / "token", {""}

    def another() -> bool:
        with contextlib.suppress(FileNotFoundError):
            seen.add(token.read_text())
        return len(seen) > before

    with log() as stderr:
        misspelt = {"REFRESHER_TO_FLIE": "a warning, which is printed and not logged"}
        with Daemon(*words(inlive, tmp_path), stderr=stderr, **misspelt) as daemon:
            for _ in range(REFRESHES):
                before = len(seen)
                eventually(another, "another token")
                daemon.send(signal.SIGUSR1)
            assert daemon.end() == 0


def test_a_failing_command_ends_although_its_message_is_not_read(tmp_path):
    with full_pipe() as stderr, start("run", "--key-file", tmp_path / "key", stderr=stderr) as process:
        assert process.wait(15) == 78


def test_a_returning_reader_gets_the_number_of_dropped_lines(inlive, tmp_path):
    """Each refresh of each token logs three lines, more than fit."""
    (tmp_path / "key").write_text(KEY)
    outputs = {tmp_path / f"token-{number}": "" for number in range(TOKENS)}
    tokens = [
        {"name": path.name, "key_file": str(tmp_path / "key"), "outputs": [{"file": str(path)}]}
        for path in outputs
    ]
    config = tmp_path / "refresher.yaml"
    config.write_text(json.dumps({"issuer": {"url": inlive.url}, "tokens": tokens}))

    def all_changed() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return all(path.read_text() != before for path, before in outputs.items())
        return False

    def read() -> None:
        with open(reader, encoding="utf-8") as log:
            lines.extend(log)

    reader, writer = os.pipe()
    lines: list[str] = []
    reading = threading.Thread(target=read)
    with Daemon("--config", config, "--log-level", "debug", endpoints=True, stderr=writer) as daemon:
        os.close(writer)
        for _ in range(1 + LIMIT // TOKENS // 2):
            eventually(all_changed, "every token anew", within=60)
            outputs = {path: path.read_text() for path in outputs}
            daemon.send(signal.SIGUSR1)
        counted = eventually(lambda: daemon.metric("log_lines_dropped_total"), "lines are dropped")
        reading.start()
        assert daemon.end() == 0
    reading.join()
    (gap,) = [entry for entry in parsed(lines) if entry.get("event") == "LinesDropped"]
    assert gap["dropped"] >= counted
    assert gap["message"].startswith(f"{gap['dropped']} lines are missing here")
