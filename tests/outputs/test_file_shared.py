"""A file output with two writers at once: two calls of `refresher once`, an old and a new Pod."""

import fcntl
import os
import threading
import time

from refresher.config.output_kinds import LOCK_FILE
from refresher.errors import OutputError
from refresher.outputs import atomic
from refresher.outputs.permissions import Permissions
from tests.outputs.tokens import NOW, SEALER, a_token
from tests.outputs.victims import output_at

WRITES = 60


def test_concurrent_writes_always_leave_a_recorded_value(tmp_path):
    path = tmp_path / "access-token"
    failures: list[OutputError] = []

    def write(first: int) -> None:
        output = output_at(path)
        try:
            for number in range(first, first + WRITES):
                output.write(a_token(number), NOW, SEALER)
        except OutputError as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(first,)) for first in (1, 1001, 2001)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert output_at(path).inspect(NOW).intact
    assert sorted(os.listdir(tmp_path)) == [".access-token.meta.json", LOCK_FILE, "access-token"]


def test_a_hung_writer_delays_others_only_briefly(tmp_path):
    output = output_at(tmp_path / "access-token")
    output.write(a_token(1), NOW, SEALER)
    with open(tmp_path / ".access-token.meta.json", "r+b") as stuck:
        fcntl.flock(stuck, fcntl.LOCK_EX)
        output.write(a_token(2), NOW, SEALER)
    assert output.inspect(NOW).facts == a_token(2).facts


def test_writers_take_turns_although_each_replaces_the_locked_file(tmp_path):
    path = str(tmp_path / "record")
    inside: list[int] = []
    most: list[int] = []

    def take_turns() -> None:
        for _ in range(WRITES):
            with atomic.alone(path), atomic.replaced(path, b"content", Permissions(0o600)):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0)  # let other threads run
                inside.pop()

    threads = [threading.Thread(target=take_turns) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 4 * WRITES
    assert max(most) == 1
