"""What a test needs that is not in the environment of this project."""

import os
import shutil

import pytest

HOW = {
    "promtool": "it comes with Prometheus (Debian: apt-get install prometheus)",
}


def tool(name: str) -> str:
    """The path of an external program, one of HOW. Without it the test is skipped, saying how to get it; with
    CI=true in the environment it fails, because a check that is skipped there is one that nobody makes."""
    path = shutil.which(name)
    if path is not None:
        return path
    message = f"needs {name}: {HOW[name]}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
