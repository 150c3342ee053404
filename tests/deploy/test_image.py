"""The image, checked without building it; tests/image builds it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deploy.rendering import OVERLAYS, overlay

ROOT = Path(__file__).parents[2]
MAKEFILE, DOCKERFILE = (ROOT / "Makefile").read_text(), (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def exports() -> list[list[str]]:
    """The arguments of uv in `make requirements`."""
    (common,) = re.findall(r"^EXPORT = \$\(BIN\)/uv (.*)$", MAKEFILE, re.MULTILINE)
    return [
        f"{common} {each}".split() for each in re.findall(r"^\t\$\(EXPORT\) (.*)$", MAKEFILE, re.MULTILINE)
    ]


@pytest.mark.parametrize("words", exports(), ids=lambda words: words[-1])
def test_the_requirements_are_those_of_the_lock_file(words, tmp_path):
    *flags, kept = words
    written = tmp_path / "requirements.txt"
    subprocess.run([Path(sys.executable).with_name("uv"), *flags, written], cwd=ROOT, check=True)
    assert (ROOT / kept).read_text() == written.read_text(), "make requirements"


def test_the_image_builds_the_wheel_with_the_backend_of_pyproject():
    assert PROJECT["dependency-groups"]["build"] == PROJECT["build-system"]["requires"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_manifests_use_the_user_of_the_image(name):
    (user,) = re.findall(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)
    assert overlay(name).pod["spec"]["securityContext"]["runAsUser"] == int(user)


def test_the_last_stage_runs_only_known_commands():
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    (hides,) = re.findall(r"^RUN ((?:.*\\\n)*.*)$", last, re.MULTILINE)
    words = [each.split()[0] for each in re.split(r";|&&|!", hides.replace("\\\n", " ")) if each.strip()]
    assert words == ["python3", "find", "python3"]
