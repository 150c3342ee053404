"""The status page in a real Chromium: a server of ours serves it, and axe-core inspects it.

Screenshots of every case are written to the directory that SCREENSHOTS names.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from refresher.core.events import MintFailed, WriteFailed
from refresher.core.notifications import LeaderChanged, LeaseFailed
from refresher.core.state import OutputPolicy
from refresher.web.endpoints import Endpoints, server_of
from tests import needs
from tests.core.builders import KEY, KEY_REFUSED, UNREACHABLE, token
from tests.http.server.site import running
from tests.observed import Daemon, at_work
from tests.status.chromium import Tab, chromium
from tests.status.documents import FILE, in_trouble

AXE = Path(__file__).parent / "axe"
RUN_AXE = (
    "axe.run({{rules: {rules}}}).then(r => r.violations.map(v => `${{v.id}}: ${{v.nodes.map(n => n.html)}}`))"
)
LOOKS = [(width, scheme) for width in (320, 1280) for scheme in ("light", "dark")]
EVIL = '</p><script>document.title = "hacked"</script><img src=x onerror=alert(1)> & "quoted"'
RTL = "\u05e9\u05dc\u05d5\u05dd \u0627\u0644\u0633\u0644\u0627\u0645"  # Hebrew and Arabic letters


def outputs(*names: str) -> tuple[OutputPolicy, ...]:
    return tuple(OutputPolicy(name, 0.0, False) for name in names)


def well() -> Daemon:
    daemon = at_work("studio", "lobby", outputs=outputs(FILE, "secret:default/inlive-token"))
    later(daemon, 600.0)
    return daemon


def refused() -> Daemon:
    """The key is refused when the token is due. The token is still valid."""
    daemon = well()
    later(daemon, 1920.0)
    daemon.mints("lobby", token(2, age=-2520.0))
    daemon.observe("studio", MintFailed(KEY, KEY_REFUSED, roll=1.0))
    later(daemon, 300.0)
    return daemon


def expired() -> Daemon:
    """The issuer was unreachable until the token expired."""
    daemon = at_work("studio", outputs=outputs(FILE, "file:/srv/www/token"))
    later(daemon, 2520.0)
    daemon.observe("studio", MintFailed(KEY, UNREACHABLE, roll=1.0))
    later(daemon, 1200.0)
    return daemon


def standby() -> Daemon:
    daemon = well()
    led = LeaderChanged(lease="default/inlive-token-refresher", leads=False, holder="refresher-7d9f-abcde")
    failed = LeaseFailed(
        lease="prod/inlive-token-refresher", leads=False, message="403: leases are forbidden"
    )
    for notification in (led, failed):
        daemon.counters.on_notification("", notification, daemon.clock.now())
    return daemon


def without_tokens() -> Daemon:
    """The outputs are not inspected yet."""
    return Daemon("studio", "lobby")


def many() -> Daemon:
    daemon = at_work(*(f"room-{number:03}" for number in range(200)))
    daemon.observe("room-117", WriteFailed("file:/a", "cannot write /a: no space left on device", roll=1.0))
    return daemon


def hostile() -> Daemon:
    """300 outputs, with names that are markup, right to left, or very long."""
    tokens = [f"{EVIL} {RTL} {'n' * 300}", *(f"{RTL} {number}" for number in range(19))]
    places = [
        f"file:/{EVIL}/{RTL}/{'x/' * 500}",
        *(f"secret:{RTL}/{'y' * number}" for number in range(1, 15)),
    ]
    daemon = at_work(*tokens, outputs=outputs(*places))
    daemon.observe(tokens[0], WriteFailed(places[0], f"{EVIL} {RTL} {'m' * 1000}", roll=1.0))
    return daemon


def later(daemon: Daemon, seconds: float) -> None:
    """Let time pass, and perform what is due then, except mints: these begin."""
    daemon.clock.time += seconds
    for driver in daemon.tokens.values():
        driver.passes(seconds)
        driver.perform(driver.steps())


CASES: dict[str, Callable[[], Daemon]] = {
    "well": well,
    "refused": refused,
    "expired": expired,
    "in trouble": in_trouble,
    "standby": standby,
    "without tokens": without_tokens,
    "many": many,
    "hostile": hostile,
}


LARGE = ("many", "hostile")  # axe-core takes half a minute for their contrasts, which others have as well


class Browser:
    """A tab, and the address of a server for each case."""

    def __init__(self, tab: Tab, urls: dict[str, str]) -> None:
        self.tab, self._urls = tab, urls

    def open(self, case: str, *, query: str = "", **look: object) -> Tab:
        self.tab.log.clear()
        self.tab.open(f"{self._urls[case]}/status{query}", **look)
        return self.tab


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    needs.npm(AXE)
    with chromium() as tab, running() as run:
        urls = {}
        for name, make in CASES.items():
            daemon = make()
            endpoints = Endpoints(daemon.view, daemon.clock.now, daemon.clock, daemon.counters, "1.2.3")
            site = run(lambda listening, endpoints=endpoints: server_of(endpoints, listening))
            urls[name] = f"http://127.0.0.1:{site.port}"
        yield Browser(tab, urls)


def inspect(tab: Tab, rules: str = "{}") -> list[str]:
    """What axe-core objects to on this page. `rules`: which of its rules to change."""
    tab.run((AXE / "node_modules" / "axe-core" / "axe.min.js").read_text() + ";0")
    return tab.run(RUN_AXE.format(rules=rules))


def keep(tab: Tab, name: str) -> None:
    if directory := os.environ.get("SCREENSHOTS"):
        tab.screenshot(Path(directory, f"{name.replace(' ', '-')}.png"))


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("case", CASES)
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(
    browser: Browser, case: str, width: int, scheme: str
) -> None:
    tab = browser.open(case, width=width, scheme=scheme)
    keep(tab, f"{case} {width} {scheme}")
    if case not in LARGE or (width, scheme) == LOOKS[0]:
        assert inspect(tab, "{'color-contrast': {enabled: false}}" if case in LARGE else "{}") == []
    assert tab.run("document.documentElement.scrollWidth") == width
    assert tab.log == []  # such as a violated Content-Security-Policy
