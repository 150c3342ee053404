"""`refresher demo`: the whole system on one machine in half a minute.

With an outage, a key rotation, and a token that expires early.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from refresher import exit_codes
from refresher.core.inlive import EXPIRED_HEADER
from refresher.core.model import SecretStr
from refresher.core.schedule import soonest
from refresher.emulator.server import Emulator

if TYPE_CHECKING:
    import requests

LIFETIME = 12.0  # seconds; the daemon replaces it after 40 to 50 %, so the demo is short
OUTAGE = 3.5  # seconds; the headroom of such a token is 3.8 s (core/schedule.py)
CALL_EVERY = 0.02  # seconds between two calls of the consumer
PATIENCE = 20.0  # seconds to wait for each step: two refreshes, and time for a slow machine
FAILED = 1
FORBIDDEN = 403

EXAMPLE = """\
  refresher demo

Needs no account, no network and no configuration; takes half a minute. Exit code 0 if no call was refused."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # the demo has no options


def run(_arguments: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="refresher-demo-") as folder, Emulator() as inlive:
        stage = Stage(folder, inlive)
        try:
            with stage.daemon(), stage.consumer() as consumer:
                stage.play(consumer)
        except StoryBrokenError as error:
            stage.narrate(f"The demo failed: {error}.")
            return FAILED
    print_result(consumer, inlive)
    return exit_codes.DONE if consumer.was_served else FAILED


class StoryBrokenError(Exception):
    """A step of the demo did not happen."""


class Consumer(threading.Thread):
    """An application: reads the token from its file and calls the product API with it, again and again.

    It reports an expired token to the listener at `socket_path`, and calls again with the next one.
    """

    def __init__(self, path: str, url: str, socket_path: str) -> None:
        import requests  # noqa: PLC0415 -- not for `--help`, nor for a build that generates files from it

        super().__init__(name="consumer", daemon=True)
        self._path, self._url, self._socket_path = path, url, socket_path
        self.made = self.refused = self.reported = 0
        self.enough = threading.Event()
        self._session = requests.Session()
        self._session.trust_env = False  # use neither a proxy nor .netrc on this machine

    @property
    def was_served(self) -> bool:
        """Whether it made calls, and the API accepted all of them."""
        return self.made > 0 and self.refused == 0

    def run(self) -> None:
        while not self.enough.wait(CALL_EVERY):
            self.made += 1
            self.refused += not self._call()

    def _call(self) -> bool:
        """Call the API once. Returns whether it accepted the token."""
        try:
            with open(self._path, encoding="ascii") as file:
                token = file.read()
            response = self._create_room(token)
            if response.status_code == FORBIDDEN and EXPIRED_HEADER in response.headers:
                response = self._create_room(self._successor(token))
                self.reported += 1
        except (
            OSError,
            ValueError,
        ):  # no token in the file, no connection, no successor: as bad as a refusal
            return False
        return response.ok

    def _create_room(self, token: str) -> "requests.Response":
        headers = {"Authorization": f"Bearer {token}"}
        return self._session.post(f"{self._url}/v1/rooms/create", json={}, headers=headers)

    def _successor(self, expired: str) -> str:
        """Report a token as expired. Returns the next one. Raises OSError, ValueError."""
        body = json.dumps({"access_token": expired})
        head = f"POST /expired/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.settimeout(PATIENCE)
            listener.connect(self._socket_path)
            listener.sendall(f"{head}Connection: close\r\n\r\n{body}".encode())
            with listener.makefile("rb") as reply:
                _, _, document = reply.read().partition(b"\r\n\r\n")
        return str(json.loads(document)["access_token"])


class Stage:
    """An emulated Inlive API, a daemon with its key and token file, and the commentary."""

    def __init__(self, folder: str, inlive: Emulator) -> None:
        self._inlive = inlive
        self._key_file = os.path.join(folder, "application-key")
        self._token_file = os.path.join(folder, "access-token")
        self._socket = os.path.join(folder, "sock")
        self._daemon: subprocess.Popen[str] | None = None
        self._log: threading.Thread | None = None  # repeats the log of the daemon until that ends
        self._began = time.monotonic()
        self._put_key(inlive.keys[0])

    def narrate(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:5.1f} s  {text}", flush=True)

    def play(self, consumer: Consumer) -> None:
        """Play all steps. Raises StoryBrokenError."""
        self.narrate(
            f"The daemon has written a first token for {LIFETIME:.0f} s. A consumer uses it all the time."
        )
        self._until("a scheduled refresh", lambda: self._inlive.counts.issued > 1)
        self.narrate("A new token has replaced it in time. The consumer noticed nothing.")
        self._outage()
        self._rotation()
        self._early_expiry(consumer)
        self.narrate(f"Done: {consumer.made} calls in {time.monotonic() - self._began:.0f} s.")

    def _outage(self) -> None:
        """An outage that starts just before a refresh is due, and ends before the old token expires."""
        time.sleep(0.4 * LIFETIME - 1.0)
        self.narrate(f"OUTAGE: the issuer returns 503 for {OUTAGE} s, just when a refresh is due.")
        issued = self._inlive.counts.issued
        self._inlive.faults(status=503)
        time.sleep(OUTAGE)
        self._inlive.heal()
        refused = self._inlive.counts.outcomes.get("503", 0)
        self.narrate(
            f"The issuer is back. {refused} requests failed meanwhile; the old token is still valid."
        )
        self._until("a refresh after the outage", lambda: self._inlive.counts.issued > issued)

    def _rotation(self) -> None:
        """A new key replaces the old one, which is revoked. Another refresh proves that it is used."""
        old, new = self._inlive.keys[0], self._inlive.add_key()
        self.narrate("ROTATION: the key file gets a new application key.")
        self._put_key(new)
        self._until("the new key in use", lambda: self._minted_with(new) > 0)
        self._inlive.revoke_key(old)
        self.narrate("The daemon has minted with the new key, which proves it. Now the old key is revoked.")
        self._until("a refresh with the new key", lambda: self._minted_with(new) > 1)

    def _early_expiry(self, consumer: Consumer) -> None:
        """The token expires long before its time. The consumer finds out, and gets the next one."""
        time.sleep(2 * soonest(LIFETIME))  # no report replaces a younger token
        self.narrate("EARLY EXPIRY: the issuer ends the token now, and nobody announces it.")
        self._inlive.expire_token()
        self._until("a report of the expired token", lambda: consumer.reported > 0)
        self.narrate(
            "A call came back with 403 and X-Access-Token-Expired. The consumer reported the token to the"
        )
        self.narrate("daemon, got the next one in the response, and called again. Nobody else noticed.")

    def _minted_with(self, key: SecretStr) -> int:
        return self._inlive.counts.by_key.get(key.fingerprint, 0)

    def _put_key(self, key: SecretStr) -> None:
        """Replace the key file in one step, as the kubelet does."""
        with open(f"{self._key_file}.new", "w", opener=_for_owner, encoding="ascii") as file:
            file.write(key.reveal())
        os.rename(f"{self._key_file}.new", self._key_file)

    def _until(self, step: str, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():
            # Not by `poll` again and again: SIGTERM in one moment of it would leave a lock held for ever, and
            # so nothing could wait for the daemon any more.
            if self._daemon is not None and self._log is not None and not self._log.is_alive():
                raise StoryBrokenError(f"the daemon has ended, exit code {self._daemon.wait(PATIENCE)}")
            if time.monotonic() > deadline:
                raise StoryBrokenError(f"waited {PATIENCE:.0f} s for {step}")
            time.sleep(0.05)

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """Run the daemon as users do, and show its log."""
        command = [sys.executable, "-m", "refresher", "run", "--log-format", "text"]
        command += ["--key-file", self._key_file, "--to-file", self._token_file]
        command += [
            "--serve",
            f"unix:{self._socket}",
            "--issuer-url",
            self._inlive.url,
            "--lifetime",
            f"{LIFETIME:.0f}s",
        ]
        self.narrate("$ refresher " + " ".join(command[3:]))
        # The caller's own settings must not change the demo.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REFRESHER_")}
        with subprocess.Popen(  # noqa: S603 -- our own program
            command, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            try:
                self._daemon = process
                self._log = threading.Thread(target=self._echo, args=(process.stderr,), daemon=True)
                self._log.start()
                self._until("the first token", lambda: os.path.exists(self._token_file))
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(PATIENCE)
            self._log.join(PATIENCE)

    def _echo(self, log: IO[str]) -> None:
        for line in log:
            _, _, message = line.rstrip("\n").partition(" ")  # the demo prints its own clock
            self.narrate(f"    | {message}")

    @contextmanager
    def consumer(self) -> Iterator[Consumer]:
        consumer = Consumer(self._token_file, self._inlive.url, self._socket)
        consumer.start()
        try:
            yield consumer
        finally:
            consumer.enough.set()
            consumer.join(PATIENCE)


def print_result(consumer: Consumer, inlive: Emulator) -> None:
    """Print the table at the end."""
    counts = inlive.counts
    rows = {
        "calls made": consumer.made,
        "calls refused": consumer.refused,
        "calls repeated": consumer.reported,
        "mint requests": counts.mints,
        "failed mints": counts.mints - counts.issued,
        "refreshes": counts.issued - 1,
    }
    print()
    for name, number in rows.items():
        print(f"  {name:<16}{number:>6}")


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
