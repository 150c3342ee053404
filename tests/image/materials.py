"""The parts of the image, built without an image registry: a Debian made by mmdebstrap, and
the packages in the image's requirements. Both are fetched once and kept in ~/.cache."""

import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from tests import needs

ROOT = Path(__file__).parents[2]
REQUIREMENTS = tuple(
    ROOT / "deploy" / "image" / name for name in ("requirements.txt", "build-requirements.txt")
)
SUITE, PYTHON = "bookworm", "3.11"  # as in the base image that the Dockerfile names

# As in that image, /usr/local has its own python3, with pip.
_HOOK = '--customize-hook=chroot "$1" python3 -m venv /usr/local'
_NOT = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")]
_DEBIAN = ["--variant=minbase", "--include=python3,python3-venv,ca-certificates", *_NOT, _HOOK, SUITE]


def base() -> Path:
    """A root file system as a tar archive: SUITE with Python."""
    tool = needs.tool("mmdebstrap")
    command = [tool, "--quiet", "--format=tar", *_DEBIAN]
    return _kept("base", _digest("\n".join(_DEBIAN).encode()), lambda into: _run([*command, str(into)]))


def wheels() -> Path:
    """A directory with all packages that pip installs in the image, by the hashes of uv.lock."""
    only = ["--require-hashes", "--no-deps", "--only-binary=:all:", f"--python-version={PYTHON}"]

    def download(into: Path) -> None:
        for listed in REQUIREMENTS:
            _run(
                [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    *only,
                    "-d",
                    str(into),
                    "-r",
                    str(listed),
                ]
            )

    return _kept("wheels", _digest(b"".join(listed.read_bytes() for listed in REQUIREMENTS)), download)


def _kept(kind: str, digest: str, make: Callable[[Path], None]) -> Path:
    """The file that `make` creates at a path, completely or not at all. `digest`: of its inputs."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = home / "inlive-token-refresher" / "image"
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"{kind}-{digest}"
    if not path.exists():
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        make(partial)
        partial.rename(path)
    return path


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()[:8]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True)
