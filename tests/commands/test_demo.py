import re
import signal
import subprocess
import threading
from collections.abc import Callable

from refresher.commands.demo import Consumer
from refresher.emulator.server import Emulator
from tests.commands.daemon import STOP_WITHIN, start
from tests.environment import without_extras


def test_the_demo_runs_to_its_end_without_a_refused_call(tmp_path):
    """Without extras, as a newcomer runs it."""
    python = without_extras(tmp_path / "environment")
    ended = subprocess.run(
        [python, "-m", "refresher", "demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    table = dict(re.findall(r"^  (\w[\w ]*\w) +(\d+)$", ended.stdout, re.MULTILINE))
    assert int(table["calls made"]) > 100
    assert table["calls refused"] == "0"
    assert int(table["failed mints"]) >= 1  # only the daemon noticed the outage
    assert int(table["refreshes"]) >= 4  # one by the schedule, one after the outage, two with the new key
    assert int(table["calls repeated"]) >= 1  # the consumer noticed the early expiry
    scenes = [ended.stdout.index(scene) for scene in ("OUTAGE", "ROTATION", "EARLY EXPIRY", "Done: ")]
    assert scenes == sorted(scenes)


def test_a_stopped_demo_leaves_no_files_and_no_processes(tmp_path):
    with start("demo", TMPDIR=str(tmp_path)) as process:
        assert process.stdout is not None
        while "first token" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGTERM)
        process.communicate(
            timeout=STOP_WITHIN
        )  # to the end of the stream, which its daemon has open as well
    assert process.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def served(inlive: Emulator, path: str, enough: Callable[[Consumer], bool]) -> bool:
    consumer = Consumer(path, inlive.url, f"{path}.sock")
    consumer.start()
    waiting = threading.Event()
    while not enough(consumer):
        assert not waiting.wait(0.01) and consumer.is_alive()  # noqa: PT018 -- an interruptible look
    consumer.enough.set()
    consumer.join(5)
    return consumer.was_served


def test_a_consumer_refused_once_was_not_served(tmp_path):
    (tmp_path / "token").write_text("not a token")
    with Emulator() as inlive:
        assert not served(inlive, str(tmp_path / "token"), lambda consumer: consumer.refused > 0)


def test_a_consumer_without_a_token_was_not_served(tmp_path):
    with Emulator() as inlive:
        assert not served(inlive, str(tmp_path / "none"), lambda consumer: consumer.refused > 0)


def test_a_consumer_without_calls_was_not_served(tmp_path):
    with Emulator() as inlive:
        assert not served(inlive, str(tmp_path / "none"), lambda _: True)
