"""Wheel and sdist, installed into an empty environment with the usual tools."""

import email
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

import refresher
from refresher import __version__
from refresher.emulator.server import Emulator
from release.files import files
from tests import needs
from tests.commands.daemon import KEY

ROOT = Path(__file__).parents[2]
PIPX = "pipx==1.18.4"
SLOW = 300  # seconds: dependencies are fetched

pytestmark = pytest.mark.timeout(2 * SLOW)


class Distributions(NamedTuple):
    wheel: Path
    sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Both. The wheel is built from the sdist, which proves that the sdist is complete."""
    needs.registry()
    place = tmp_path_factory.mktemp("dist")
    called(needs.tool("uv"), "build", "--quiet", "--out-dir", str(place), str(ROOT))
    (wheel,), (sdist,) = place.glob("*.whl"), place.glob("*.tar.gz")
    return Distributions(wheel, sdist)


def called(*words: str, **environ: str) -> str:
    """The output of a command, run in an environment without the variables of the tests."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    known = {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
    done = subprocess.run(
        words, env=inherited | known | environ, capture_output=True, text=True, timeout=SLOW, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def by_pip(distribution: Path, place: Path) -> Path:
    """Install into a new environment there. Returns the directory with its ``bin`` and ``share``."""
    venv.create(place / "environment", with_pip=True)
    python = str(place / "environment" / "bin" / "python")
    called(
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--disable-pip-version-check",
        str(distribution),
    )
    return place / "environment"


def by_uv_tool(distribution: Path, place: Path) -> Path:
    where = {"UV_TOOL_DIR": str(place / "tools"), "UV_TOOL_BIN_DIR": str(place / "bin")}
    called(
        needs.tool("uv"), "tool", "install", "--quiet", "--python", sys.executable, str(distribution), **where
    )
    assert (place / "bin" / "refresher").exists()
    return place / "tools" / "inlive-token-refresher"


def by_pipx(distribution: Path, place: Path) -> Path:
    """It creates links to the program and to the manual page in the user's directories."""
    where = {
        "PIPX_HOME": str(place / "pipx"),
        "PIPX_BIN_DIR": str(place / "bin"),
        "PIPX_MAN_DIR": str(place / "man"),
        "PIPX_DEFAULT_PYTHON": sys.executable,
    }
    called(needs.tool("uv"), "tool", "run", "--quiet", PIPX, "install", "--quiet", str(distribution), **where)
    assert (place / "bin" / "refresher").exists()
    assert (place / "man" / "man1" / "refresher.1").exists()
    return place / "pipx" / "venvs" / "inlive-token-refresher"


@pytest.mark.parametrize(
    ("install", "kind"),
    [(by_pip, "wheel"), (by_uv_tool, "sdist"), (by_pipx, "wheel")],
    ids=["pip-wheel", "uv-tool-sdist", "pipx-wheel"],
)
def test_an_installation_works(built, tmp_path, install, kind):
    prefix = install(getattr(built, kind), tmp_path)
    program = str(prefix / "bin" / "refresher")
    assert called(program, "--version") == f"inlive-token-refresher {__version__}\n"
    (tmp_path / "key").write_text(KEY)
    token = tmp_path / "token"
    with Emulator(keys=[KEY]) as issuer:
        words = ["--key-file", str(tmp_path / "key"), "--to-file", str(token), "--issuer-url", issuer.url]
        called(program, "once", *words)
        assert issuer.valid(token.read_text())
        for_a_secret = subprocess.run(
            [program, "once", *words, "--to-secret", "studio/access-token"],
            stderr=subprocess.PIPE,
            text=True,
            timeout=SLOW,
            check=False,
        )
    assert for_a_secret.returncode == 78
    assert for_a_secret.stderr.endswith("pip install 'inlive-token-refresher[kubernetes]'\n")
    for path, text in files().items():
        assert (prefix / path).read_text() == text


def test_the_wheel_contains_only_the_program(built):
    package = Path(refresher.__file__).parent
    ours = {
        str(path.relative_to(package.parent))
        for path in package.rglob("*")
        if path.suffix in (".py", ".typed")
    }
    with zipfile.ZipFile(built.wheel) as wheel:
        inside = set(wheel.namelist())
    beside = {
        name for name in inside if not re.match(r"inlive_token_refresher-[0-9.]+\.(dist-info|data)/", name)
    }
    assert beside == ours


def test_the_sdist_contains_the_tests(built):
    with tarfile.open(built.sdist) as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md"} <= inside
    if not (ROOT / ".git").exists():
        pytest.skip("this is an sdist itself")
    tracked = called("git", "-C", str(ROOT), "ls-files").splitlines()
    assert set(tracked) - inside == set()


def test_the_version_comes_from_one_place(built):
    with zipfile.ZipFile(built.wheel) as wheel:
        (name,) = [each for each in wheel.namelist() if each.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(wheel.read(name))
    assert metadata["Version"] == __version__
    assert metadata["Name"] == "inlive-token-refresher"
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()


def test_two_builds_of_one_commit_are_identical(built, tmp_path):
    called(needs.tool("uv"), "build", "--quiet", "--out-dir", str(tmp_path), str(ROOT))
    for first in built:
        assert (tmp_path / first.name).read_bytes() == first.read_bytes()
