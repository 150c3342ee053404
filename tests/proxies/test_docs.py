"""docs/proxies.md and the examples agree with each other."""

import re

import pytest

from tests.commands.daemon import ROOT
from tests.proxies.proxies import EXAMPLES, PROXIES

PAGE = (ROOT / "docs" / "proxies.md").read_text()
SHOWN = re.findall(r"^## (\w+)\n+```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("title", "snippet"), SHOWN)
def test_what_the_page_shows_is_in_the_example(title: str, snippet: str) -> None:
    example = (EXAMPLES / PROXIES[title.lower()].example).read_text()
    assert snippet in example


def test_every_example_is_shown_linked_and_tested() -> None:
    assert {title.lower() for title, _ in SHOWN} == set(PROXIES)
    tested = {name for proxy in PROXIES.values() for name in (proxy.example, proxy.also) if name}
    assert {path.name for path in EXAMPLES.iterdir()} == tested
    assert {name for name in tested if f"(../examples/proxies/{name})" not in PAGE} == set()


def row(beginning: str) -> dict[str, str]:
    """What the row of the table that begins so says of each proxy."""
    lines = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| ")]
    names = [re.sub(r"\W*(\w+).*", r"\1", cell).lower() for cell in lines[0][1:]]
    (cells,) = [line[1:] for line in lines if line[0].strip().startswith(beginning)]
    return dict(zip(names, [cell.strip() for cell in cells], strict=True))


@pytest.mark.parametrize("name", PROXIES)
def test_the_table_says_what_the_tests_show(name: str) -> None:
    proxy = PROXIES[name]
    assert row("answers while the daemon is stopped")[name] == str(proxy.status_alone)
    assert row("sends the request again")[name] == ("yes" if proxy.repeats else "no")
    assert row("asks over")[name] == ("TCP" if proxy.listener == "tcp" else "Unix socket")
    reports = "yes" if proxy.names_the_token else "yes, but not which"
    assert row("reports an expired token")[name] == (reports if proxy.repeats else "no")
