"""That a disk fails as it should: seen by a process that tries to write there, as chaos itself is started."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.place import limit_file_size
from tests.commands.daemon import ROOT

TRIES = """
import json, sys
from pathlib import Path
from tests.chaos.place import Place, enter_namespace

enter_namespace([sys.executable, *sys.orig_argv[1:]])

def tried(place):
    try:
        (place.path / "file").write_bytes(bytes(5000))
    except OSError as error:
        return error.strerror
    (place.path / "file").unlink()
    return "written"

place = Place(Path(sys.argv[1]), small=True)
seen = {"mounted": place.is_mounted, "well": tried(place)}
for name, trouble in (("full", lambda: place.fill(1)), ("forbidden", place.forbid)):
    if name == "full" and not place.is_mounted:
        continue
    trouble()
    seen[name] = tried(place)
    place.mend()
    seen[f"after {name}"] = tried(place)
place.close()
print(json.dumps(seen))
"""


def test_a_full_disk_and_a_forbidden_directory_take_no_file_until_they_are_mended(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", TRIES, str(tmp_path / "place")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    mounted = seen.pop("mounted")
    full = {"full": "No space left on device", "after full": "written"} if mounted else {}
    assert seen == full | {
        "well": "written",
        "forbidden": "Permission denied",
        "after forbidden": "written",
    }


@pytest.mark.parametrize("size", [0, 7])
def test_a_write_is_cut_short_at_the_limit_and_whole_without(tmp_path: Path, size: int) -> None:
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
