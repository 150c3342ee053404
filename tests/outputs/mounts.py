"""Mounts for single test processes. Only the process sees them, and they end with it."""

import subprocess

import pytest

from tests import needs


def mounting(script: str, *arguments: object) -> list[str]:
    """What to put before a command so that `script` mounts something first, in a mount namespace of its own.
    `arguments` are the script's $1, $2…; no test if this user may not mount."""
    number = len(arguments)
    command = [needs.tool("unshare"), "--mount", "--propagation", "private", "sh", "-ec"]
    command += [f'{script}\nshift {number}\nexec "$@"', "sh", *map(str, arguments)]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"only root may mount: {tried.stderr.strip()}")
    return command


def without_permissions(folder: object, source: object, *options: str) -> list[str]:
    """`mounting` of `source` at `folder` by bindfs(1), with options to ignore or refuse chmod."""
    bindfs = needs.tool("bindfs")
    return mounting(f'{bindfs} {" ".join(options)} "$1" "$2"', source, folder)
