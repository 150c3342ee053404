"""docs/issuers.md, "Try it without an account": its commands run the shipped example against the emulator."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
import yaml

from tests.commands.daemon import DEADLINE, ROOT, eventually, free_port

PAGE = (ROOT / "docs" / "issuers.md").read_text().partition("## Try it")[2]
START, USE = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@contextmanager
def shell(commands: str, place: Path) -> Iterator[Path]:
    """Run commands as a user does who pasted them. Yields the file with their output. Ends them all."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    log = place / f"{len(list(place.iterdir()))}.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            ["bash", "-e", "-c", commands],
            cwd=place,
            env={"PATH": path, "HOME": str(place)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield log
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def test_the_documented_commands_run_the_example_of_all_kinds(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    url = f"127.0.0.1:{free_port()}"
    start = START.replace("refresher emulator", f"refresher emulator --listen {url}")
    tokens = yaml.safe_load((ROOT / "examples" / "several-issuers.yaml").read_text())["tokens"]
    files = [tmp_path / f"{token['name']}.token" for token in tokens]
    with shell(start, tmp_path) as log:
        eventually(lambda: "/_emulator/state" in log.read_text(), "the emulator has started")
        with shell(USE.replace("127.0.0.1:8787", url), tmp_path) as used:
            eventually(lambda: all(file.exists() for file in files), f"{files}, see {used}")
        for file in files:
            headers = {"Authorization": f"Bearer {file.read_text()}"}
            called = requests.post(
                f"http://{url}/v1/rooms/create", headers=headers, json={}, timeout=DEADLINE
            )
            assert called.status_code == 200, file
