"""Key and tokens stay in the process: no core, no neighbour that reads its memory, no log of TLS secrets."""

import os
import resource
import subprocess
import sys

import pytest

from refresher.cli import COMMANDS
from tests.commands.daemon import KEY, ROOT, start

# Imported when the process is hardened: prints what the kernel, and Python, know of it.
LOOKS = """\
import _ctypes, os, resource
prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")
print(_ctypes.call_function(prctl, (3, 0, 0, 0, 0)), resource.getrlimit(resource.RLIMIT_CORE), flush=True)
print(os.environ.get("SSLKEYLOGFILE"), flush=True)
os._exit(0)
"""

# A process of a user, and another one of the same that looks into its memory.
NEIGHBOUR = """\
import _ctypes, os, resource, sys  # this user may not be able to import any more
from refresher.hardening import keep_secrets_in
ready, told = os.pipe()
victim = os.fork()
if victim == 0:
    os.setuid(65534)
    prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")
    _ctypes.call_function(prctl, (4, 1, 0, 0, 0))  # as after exec: a change of users has forbidden it
    if sys.argv[1] == "hardened":
        keep_secrets_in()
    os.write(told, b".")
    os.read(os.pipe()[0], 1)
os.close(told)
os.read(ready, 1)
os.setuid(65534)
try:
    open(f"/proc/{victim}/mem", "rb").close()
    print("open")
except PermissionError:
    print("closed")
os.kill(victim, 9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_hardened_before_it_reads_anything(tmp_path, command):
    (tmp_path / "argparse.py").write_text(LOOKS)
    with start(command, PYTHONPATH=str(tmp_path), SSLKEYLOGFILE=str(tmp_path / "keys")) as process:
        out, err = process.communicate(timeout=30)
    # `exec` keeps the hard limit: its COMMAND gets both limits back, and nobody can raise a lowered hard one.
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1] if command == "exec" else 0
    assert (out.splitlines(), err) == ([f"0 (0, {hard})", "None"], "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize(("how", "memory"), [("hardened", "closed"), ("as it is", "open")])
def test_another_process_of_the_same_user_cannot_read_its_memory(how, memory):
    command = [sys.executable, "-c", NEIGHBOUR, how]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ended.stdout == f"{memory}\n", ended.stderr


def test_tls_secrets_are_not_written_down(tmp_path):
    (tmp_path / "key").write_text(KEY)
    log = tmp_path / "tls"
    with start(
        "mint", "--key-file", tmp_path / "key", "--issuer-url", "https://127.0.0.1:1", SSLKEYLOGFILE=str(log)
    ) as process:
        process.communicate(timeout=30)
    assert not log.exists()
