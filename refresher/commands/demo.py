"""`refresher demo`: the whole thing on one machine, with an outage and a key rotation, in half a minute."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from refresher import exit_codes
from refresher.core.model import SecretStr
from refresher.emulator.server import Emulator

LIFETIME = 12.0  # seconds: replaced at 40 to 50 % of it, so that the story is short
OUTAGE = 3.5  # seconds; the headroom of such a token is 3.8 s (core/schedule.py)
CALL_EVERY = 0.02  # seconds between two calls of the consumer
PATIENCE = 20.0  # seconds for what the story waits for: two refreshes and some air for a slow machine
FAILED = 1

EXAMPLE = """\
  refresher demo

Needs no account, no network and no configuration; takes half a minute. Exit code 0 if no call was refused."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # nothing can be chosen


def run(_arguments: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="refresher-demo-") as folder, Emulator() as inlive:
        stage = Stage(folder, inlive)
        try:
            with stage.daemon(), stage.consumer() as consumer:
                stage.play(consumer)
        except StoryBrokenError as error:
            stage.tell(f"The story broke off: {error}.")
            return FAILED
    tell_result(consumer, inlive)
    return exit_codes.DONE if consumer.was_served else FAILED


class StoryBrokenError(Exception):
    """What should have happened on stage did not."""


class Consumer(threading.Thread):
    """An application: reads the token from its file and calls the product API with it, again and again."""

    def __init__(self, path: str, url: str) -> None:
        import requests  # noqa: PLC0415 -- not for `--help`, nor for what is generated from it in a build

        super().__init__(name="consumer", daemon=True)
        self._path, self._url = path, url
        self.made = self.refused = 0
        self.enough = threading.Event()
        self._session = requests.Session()
        self._session.trust_env = False  # neither a proxy nor .netrc comes between us and this machine

    @property
    def was_served(self) -> bool:
        """Whether it has called, and never in vain."""
        return self.made > 0 and self.refused == 0

    def run(self) -> None:
        while not self.enough.wait(CALL_EVERY):
            self.made += 1
            self.refused += not self._call()

    def _call(self) -> bool:
        """Whether the API let us in."""
        try:
            with open(self._path, encoding="ascii") as file:
                headers = {"Authorization": f"Bearer {file.read()}"}
            return self._session.post(f"{self._url}/v1/rooms/create", json={}, headers=headers).ok
        except OSError:  # no token to be read, or no connection: as bad as a refusal
            return False


class Stage:
    """Where it happens: an emulated Inlive API, a daemon with its key and token file, and who tells of it."""

    def __init__(self, folder: str, inlive: Emulator) -> None:
        self._inlive = inlive
        self._key_file = os.path.join(folder, "application-key")
        self._token_file = os.path.join(folder, "access-token")
        self._daemon: subprocess.Popen[str] | None = None
        self._began = time.monotonic()
        self._put_key(inlive.keys[0])

    def tell(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:5.1f} s  {text}", flush=True)

    def play(self, consumer: Consumer) -> None:
        """The story. Raises StoryBrokenError."""
        self.tell(f"A first token of {LIFETIME:.0f} s is there, and a consumer that uses it all the time.")
        self._until("a scheduled refresh", lambda: self._inlive.counts.issued > 1)
        self.tell("A new one took its place in time. The consumer noticed nothing.")
        self._outage()
        self._rotation()
        self.tell(f"The end: {consumer.made} calls in {time.monotonic() - self._began:.0f} s.")

    def _outage(self) -> None:
        """From just before a refresh is due, as long as the consumer can be served with the old token."""
        time.sleep(0.4 * LIFETIME - 1.0)
        self.tell(f"OUTAGE: the issuer answers 503 for {OUTAGE} s, just when a refresh is due.")
        issued = self._inlive.counts.issued
        self._inlive.faults(status=503)
        time.sleep(OUTAGE)
        self._inlive.heal()
        refused = self._inlive.counts.outcomes.get("503", 0)
        self.tell(f"The issuer is back. {refused} requests failed meanwhile; the old token is still good.")
        self._until("a refresh after the outage", lambda: self._inlive.counts.issued > issued)

    def _rotation(self) -> None:
        """The old key is revoked as soon as the new one is in use, and another refresh shows that it is."""
        old, new = self._inlive.keys[0], self._inlive.add_key()
        self.tell("ROTATION: a new application key is put into the key file.")
        self._put_key(new)
        self._until("the new key in use", lambda: self._minted_with(new) > 0)
        self._inlive.revoke_key(old)
        self.tell("The daemon has proven it with a mint. The old key is revoked now.")
        self._until("a refresh with the new key", lambda: self._minted_with(new) > 1)

    def _minted_with(self, key: SecretStr) -> int:
        return self._inlive.counts.by_key.get(key.fingerprint, 0)

    def _put_key(self, key: SecretStr) -> None:
        """In one step, as kubelet does it."""
        with open(f"{self._key_file}.new", "w", opener=_for_owner, encoding="ascii") as file:
            file.write(key.reveal())
        os.rename(f"{self._key_file}.new", self._key_file)

    def _until(self, what: str, happened: Callable[[], bool]) -> None:
        by = time.monotonic() + PATIENCE
        while not happened():
            if self._daemon is not None and self._daemon.poll() is not None:
                raise StoryBrokenError(f"the daemon has ended, exit code {self._daemon.returncode}")
            if time.monotonic() > by:
                raise StoryBrokenError(f"waited {PATIENCE:.0f} s for {what}")
            time.sleep(0.05)

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """The daemon as its users run it, its log shown in the story."""
        command = [sys.executable, "-m", "refresher", "run", "--log-format", "text"]
        command += ["--key-file", self._key_file, "--to-file", self._token_file]
        command += ["--issuer-url", self._inlive.url, "--lifetime", f"{LIFETIME:.0f}s"]
        self.tell("$ refresher " + " ".join(command[3:]))
        # none of the caller's own settings: this is a stage
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REFRESHER_")}
        with subprocess.Popen(  # noqa: S603 -- ourselves
            command, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            try:
                self._daemon = process
                echo = threading.Thread(target=self._echo, args=(process.stderr,), daemon=True)
                echo.start()
                self._until("the first token", lambda: os.path.exists(self._token_file))
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(PATIENCE)
            echo.join(PATIENCE)

    def _echo(self, log: IO[str]) -> None:
        for line in log:
            _, _, message = line.rstrip("\n").partition(" ")  # the story has a clock of its own
            self.tell(f"    | {message}")

    @contextmanager
    def consumer(self) -> Iterator[Consumer]:
        consumer = Consumer(self._token_file, self._inlive.url)
        consumer.start()
        try:
            yield consumer
        finally:
            consumer.enough.set()
            consumer.join(PATIENCE)


def tell_result(consumer: Consumer, inlive: Emulator) -> None:
    """The table at the end."""
    counts = inlive.counts
    rows = {
        "calls made": consumer.made,
        "calls refused": consumer.refused,
        "mint requests": counts.mints,
        "of them failed": counts.mints - counts.issued,
        "refreshes": counts.issued - 1,
    }
    print()
    for name, number in rows.items():
        print(f"  {name:<16}{number:>6}")


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
