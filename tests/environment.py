"""A Python environment with the program and no extra, as `pip install inlive-token-refresher` makes it."""

import re
import tomllib
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def without_extras(place: Path) -> Path:
    """Python of a new environment in `place`: with the program from this tree and what it requires, without
    what is only in an extra. Each distribution is a link to that in the environment of the tests."""
    venv.create(place, with_pip=False, symlinks=True)
    (packages,) = place.glob("lib/python*/site-packages")
    for name in _importable(_required()):
        (packages / name.name).symlink_to(name)
    (packages / "refresher").symlink_to(ROOT / "refresher")
    return place / "bin" / "python"


def _required() -> list[Distribution]:
    """Every distribution that the program requires, directly or through others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: dict[str, Distribution] = {}
    waiting = list(project["dependencies"])
    while waiting:
        requirement = waiting.pop()
        name = re.match(r"[\w.-]+", requirement)
        if "extra ==" not in requirement and name is not None and name[0] not in found:
            found[name[0]] = distribution(name[0])
            waiting += found[name[0]].requires or []
    return list(found.values())


def _importable(distributions: list[Distribution]) -> Iterator[Path]:
    """What stands in site-packages of each."""
    for each in distributions:
        for name in {file.parts[0] for file in each.files or ()} - {"..", "__pycache__"}:
            yield Path(str(each.locate_file(name)))
