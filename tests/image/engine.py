"""podman with a temporary store, without network and registry."""

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests import needs
from tests.image import materials
from tests.image.materials import ROOT

BASE = "localhost/debian-with-python"
IMAGE = "localhost/inlive-token-refresher"

# As in deploy/: under the restricted Pod Security standard, but as a user without a name.
RESTRICTED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--user=12345",
)
# podman's own limits need a right to raise them that even root lacks in some virtual machines.
_LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")

_SHARED_MEMORY = "/dev/shm"
_ROOM = 2_000_000_000  # bytes; the base and a build take 0.6e9, each further build less


class Layer(NamedTuple):
    """One layer of an image, unpacked."""

    digest: str
    size: int  # bytes of its archive
    files: dict[str, int]  # bytes by path; directories are not in it


class Engine:
    """A context manager that leaves no files behind."""

    def __init__(self) -> None:
        podman, runc = needs.tool("podman"), needs.tool("runc")
        self._base, self._wheels = materials.base(), materials.wheels()
        self._directory = Path(tempfile.mkdtemp(prefix="image-", dir=_memory()))
        places = {f"--{kind}": self._directory / kind for kind in ("root", "runroot", "tmpdir")}
        self.command = [podman, *(f"{flag}={path}" for flag, path in places.items())]
        self.command += ["--cgroup-manager=cgroupfs", f"--runtime={runc}"]
        self._pip = self._directory / "pip.conf"

    def __enter__(self) -> Self:
        self._pip.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        self("import", "--quiet", self._base, BASE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self("rm", "--all", "--force", "--time=0")
        self("rmi", "--all", "--force")  # without root, only podman can delete the files of its users
        store = self._directory / "root" / "overlay"  # podman mounts it on itself, sometimes twice
        while subprocess.run(["umount", store], capture_output=True, check=False).returncode == 0:
            pass
        shutil.rmtree(self._directory)

    def __call__(self, *words: object) -> str:
        """The output of podman; fails with its error message."""
        ended = subprocess.run(
            [*self.command, *map(str, words)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout.strip()

    def build(self, name: str, source: Path = ROOT) -> None:
        """Run `make image` in this directory, without a cache, and with packages from a directory."""
        flags = ["--isolation=oci", "--network=none", *_LIMITS, "--pull=never", "--no-cache"]
        flags += [f"--volume={self._wheels}:/wheels:ro", f"--volume={self._pip}:/etc/pip.conf:ro"]
        variables = {
            "ENGINE": " ".join(self.command),
            "BUILD_FLAGS": " ".join(flags),
            "BASE_IMAGE": BASE,
            "IMAGE": name,
        }
        command = [
            "make",
            "--no-print-directory",
            "image",
            *(f"{key}={value}" for key, value in variables.items()),
        ]
        made = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stdout + made.stderr

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run a container to its end: options, image, arguments."""
        return subprocess.run(
            self.running(*words),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=100,
            check=False,
        )

    def running(self, *words: object) -> list[str]:
        """The command for `run`."""
        return [*self.command, "run", "--rm", *_LIMITS, *map(str, words)]

    def layers(self, name: str, directory: Path) -> list[Layer]:
        """The layers of an image, lowest first; their archives stay in this directory."""
        self("save", "--quiet", "--format=docker-dir", "--uncompressed", f"--output={directory}", name)
        manifest = json.loads((directory / "manifest.json").read_text())
        return [_layer(directory, each["digest"]) for each in manifest["layers"]]

    def settings(self, name: str) -> dict[str, Any]:
        (found,) = json.loads(self("image", "inspect", name))
        return dict(found)


def _memory() -> str | None:
    """A directory in memory for the store, if there is room: podman syncs every layer. None: the default."""
    roomy = os.access(_SHARED_MEMORY, os.W_OK) and shutil.disk_usage(_SHARED_MEMORY).free > _ROOM
    return _SHARED_MEMORY if roomy else None


def _layer(directory: Path, digest: str) -> Layer:
    path = directory / digest.removeprefix("sha256:")
    with tarfile.open(path) as archive:
        return Layer(
            digest, path.stat().st_size, {each.name: each.size for each in archive if not each.isdir()}
        )
