"""Fixtures for outputs: processes to obstruct, and a directory that other users can reach."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def victim(request):
    """Starts a victim, and kills it after the test."""
    processes = []

    def start(*arguments, before=()):
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.outputs.victims", *arguments],
            cwd=request.config.rootpath,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def open_folder():
    """A directory that other users can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)
