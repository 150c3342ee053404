"""The pages of the repository name only files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")])
TOP = "deploy|docs|examples|refresher|release|tests"
MODULES = [f"/{path.relative_to(ROOT)}" for top in TOP.split("|") for path in ROOT.glob(f"{top}/**/*.py")]


def in_backticks(page: Path, pattern: str) -> list[str]:
    return re.findall(rf"`({pattern})`", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_named_on_a_page_exists(page):
    modules = in_backticks(page, r"[\w/]+\.py")
    assert [name for name in modules if not any(path.endswith(f"/{name}") for path in MODULES)] == []
    paths = in_backticks(page, rf"(?:{TOP})/[\w./-]+")
    assert [name for name in paths if not (ROOT / name).exists()] == []
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
    assert [name for name in links if not (page.parent / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_section_has_its_heading(page):
    for name, section in re.findall(r"\]\(([^)#:\s]*)#([\w-]+)\)", page.read_text()):
        text = (page.parent / name).read_text() if name else page.read_text()
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert section in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings]


def test_the_architecture_names_modules():
    assert len(in_backticks(ROOT / "docs" / "architecture.md", r"[\w/]+\.py")) > 50
