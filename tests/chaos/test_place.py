"""Proves that a disk fails as it should, with a process that writes there, started as the chaos test is."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.place import Disk, limit_file_size
from tests.commands.daemon import ROOT

TRIES = """
import json, sys, time
from pathlib import Path
from tests.chaos.place import Disk, Place, enter_namespace

enter_namespace([sys.executable, *sys.orig_argv[1:]])

def tried(place):
    try:
        (place.path / "file").write_bytes(bytes(5000))
    except OSError as error:
        return error.strerror
    (place.path / "file").unlink()
    return "written"

troubles = {"full": lambda place: place.fill(1), "forbidden": Place.forbid}
seen = {}
for disk in Disk:
    names = ("full", "forbidden") if disk is Disk.SMALL else ("forbidden",)
    place = Place(Path(sys.argv[1]) / disk.name, disk)
    if place.disk is not disk:
        place.close()
        continue
    found = seen[disk.name] = {"well": tried(place)}
    for name in names:
        troubles[name](place)
        found[name] = tried(place)
        place.mend()
        found[f"after {name}"] = tried(place)
    if disk is Disk.HANGING:
        began = time.monotonic()
        place.hang(0.5)
        found["hung"] = tried(place)
        found["hung for"] = time.monotonic() - began
    place.close()
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The results of a writer, by disk and fault."""
    ran = subprocess.run(
        [sys.executable, "-c", TRIES, str(tmp_path_factory.mktemp("places"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, dict[str, Any]] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("disk", Disk)
def test_a_directory_accepts_files_except_while_forbidden(
    seen: dict[str, dict[str, Any]], disk: Disk
) -> None:
    if disk.name not in seen:
        pytest.skip(f"this machine has not {disk.value}")
    found = seen[disk.name]
    assert found["well"] == "written"
    assert found["forbidden"] == "Permission denied"
    assert found["after forbidden"] == "written"


def test_a_full_disk_accepts_no_file_until_it_is_mended(seen: dict[str, dict[str, Any]]) -> None:
    if "SMALL" not in seen:
        pytest.skip(f"this machine has not {Disk.SMALL.value}")
    assert seen["SMALL"]["full"] == "No space left on device"
    assert seen["SMALL"]["after full"] == "written"


def test_a_hanging_disk_blocks_a_writer_until_it_continues(seen: dict[str, dict[str, Any]]) -> None:
    if "HANGING" not in seen:
        pytest.skip(f"this machine has not {Disk.HANGING.value}")
    assert seen["HANGING"]["hung"] == "written"
    assert seen["HANGING"]["hung for"] >= 0.5


@pytest.mark.parametrize("size", [0, 7])
def test_a_write_is_cut_short_at_the_limit_and_complete_without(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    script = "import os, sys; os.read(0, 1); os.write(os.open(sys.argv[1], 65), b'0123456789')"
    for limit, written in ((size, size), (None, 10)):
        path.unlink(missing_ok=True)
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(path)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with child:
            limit_file_size(child, limit)
            child.communicate("x")
        assert os.path.getsize(path) == written
