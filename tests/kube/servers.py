"""Server processes of a test. Their output goes to files, and they end with the tests at the latest."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 60.0  # seconds for a server to start; it takes a twentieth of this on an idle machine
PAUSE = 0.02  # seconds between two looks at whether it has
TAIL = 4000  # bytes of its output that are shown when it has not


_WATCH = """trap '' HUP INT TERM; cat >/dev/null; rm -rf -- "$0"; kill -KILL 0"""


class Home:
    """A temporary directory and a process group. Both are removed when this process ends.

    A shell in the group reads a pipe from this process. The pipe closes even after SIGKILL, which runs no
    `finally`. The group is not the terminal's, so Ctrl-C does not stop the servers before the tests end. The
    shell ignores HUP, which the kernel sends to an orphaned group with a stopped member.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="kube-"))
        self._watch = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, str(self.path)],
            stdin=subprocess.PIPE,
            process_group=0,
        )
        self.group = self._watch.pid

    def close(self) -> None:
        assert self._watch.stdin is not None
        self._watch.stdin.close()
        self._watch.wait()
        shutil.rmtree(self.path, ignore_errors=True)  # a server may write while this runs


class Server:
    """A program that can be restarted, killed and stopped. `ready` returns whether it serves."""

    def __init__(self, home: Home, argv: list[str], ready: Callable[[], bool]) -> None:
        self.name = os.path.basename(argv[0])
        self.log = home.path / f"{self.name}.log"
        self._argv, self._ready, self._group = argv, ready, home.group
        self._process: subprocess.Popen[bytes] | None = None
        self.paused = False

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it is ready. Raises RuntimeError with the end of its output."""
        assert not self.running, f"{self.name} runs already"
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=self._group,
            )
        self.wait()

    def wait(self) -> None:
        """Wait until it is ready."""
        until = time.monotonic() + PATIENCE
        while not self._ready():
            if not self.running:
                raise RuntimeError(f"{self.name} has ended; its last words:\n{self.tail()}")
            if time.monotonic() > until:
                raise RuntimeError(f"{self.name} is not ready after {PATIENCE:g} s:\n{self.tail()}")
            time.sleep(PAUSE)

    def kill(self) -> None:
        """Kill it with SIGKILL, also while it is stopped."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.paused = False

    def pause(self) -> None:
        """Stop the process. Connections stay, the kernel accepts new ones, and no response comes."""
        process = self._signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # threads stop one by one, and some still respond
        self.paused = True

    def resume(self) -> None:
        self._signal(signal.SIGCONT)
        self.paused = False

    def _signal(self, number: signal.Signals) -> subprocess.Popen[bytes]:
        assert self._process is not None
        assert self.running, f"{self.name} does not run"
        self._process.send_signal(number)
        return self._process

    def tail(self) -> str:
        return self.log.read_bytes()[-TAIL:].decode(errors="replace")
