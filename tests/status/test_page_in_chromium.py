"""The status page in a real Chromium: a server of ours serves it, and axe-core inspects it.

Screenshots of every case are written to the directory that SCREENSHOTS names.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from refresher.core.events import MintFailed, WriteFailed
from refresher.core.process_notifications import LeaderChanged, LeaseFailed
from refresher.core.state import OutputPolicy
from refresher.web.endpoints import Endpoints, server_of
from tests import needs
from tests.core.builders import KEY, KEY_REFUSED, UNREACHABLE, token
from tests.http.server.site import running
from tests.observed import Daemon, at_work
from tests.status.chromium import Tab, chromium
from tests.status.documents import FILE, elapse, in_trouble, refuse

AXE = Path(__file__).parent / "axe"
RUN_AXE = """axe.run({resultTypes: ["violations"], rules: {"target-size": {enabled: true}}})
  .then(found => found.violations.map(rule => `${rule.id}: ${rule.nodes.map(node => node.html)}`))"""
LARGE = ("many", "hostile")  # axe-core takes ten seconds for each: it inspects one, in one look
LOOKS = [(width, scheme) for width in (320, 1280) for scheme in ("light", "dark")]
EVIL = '</p><script>document.title = "hacked"</script><img src=x onerror=alert(1)> & "quoted"'
RTL = "\u05e9\u05dc\u05d5\u05dd \u0627\u0644\u0633\u0644\u0627\u0645"  # Hebrew and Arabic letters


def outputs(*names: str) -> tuple[OutputPolicy, ...]:
    return tuple(OutputPolicy(name, 0.0, False) for name in names)


def well() -> Daemon:
    daemon = at_work("studio", "lobby", outputs=outputs(FILE, "secret:default/inlive-token"))
    elapse(daemon, 600.0)
    return daemon


def refused() -> Daemon:
    """The key is refused when the token is due. The token is still valid."""
    daemon = well()
    elapse(daemon, 1920.0)
    daemon.mints("lobby", token(2, age=-2520.0))
    daemon.observe("studio", MintFailed(KEY, KEY_REFUSED, roll=1.0))
    elapse(daemon, 300.0)
    return daemon


def expired() -> Daemon:
    """The issuer was unreachable until the token expired."""
    daemon = at_work("studio", outputs=outputs(FILE, "file:/srv/www/token"))
    elapse(daemon, 2520.0)
    daemon.observe("studio", MintFailed(KEY, UNREACHABLE, roll=1.0))
    elapse(daemon, 1200.0)
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


def misconfigured() -> Daemon:
    """The key is refused, and the changed configuration file has mistakes."""
    daemon = refused()
    refuse(
        daemon,
        "/etc/inlive/refresher.yaml:7: tokens[0].outputs[1].mode: '999' is no mode; accepted: octal digits",
        "/etc/inlive/refresher.yaml:12: tokens[1].lifetme: unknown key; did you mean 'lifetime'?",
    )
    elapse(daemon, 60.0)
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


CASES: dict[str, Callable[[], Daemon]] = {
    "well": well,
    "refused": refused,
    "expired": expired,
    "in trouble": in_trouble,
    "misconfigured": misconfigured,
    "standby": standby,
    "without tokens": without_tokens,
    "many": many,
    "hostile": hostile,
}


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


def inspect(tab: Tab) -> list[str]:
    """What axe-core objects to on this page."""
    tab.run((AXE / "node_modules" / "axe-core" / "axe.min.js").read_text() + ";0")
    found: list[str] = tab.run(RUN_AXE)
    return found


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
    if case not in LARGE or (case, width, scheme) == ("hostile", 320, "light"):
        assert inspect(tab) == []
    assert tab.run("document.documentElement.scrollWidth") == width
    assert tab.log == []  # such as a violated policy


def test_colours_follow_the_preference_of_the_reader(browser: Browser) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    seen = [browser.open("well", scheme=scheme).run(paper) for scheme in ("light", "dark")]
    assert seen == ["rgb(255, 255, 255)", "rgb(18, 21, 24)"]


def test_a_bar_is_visible_in_forced_colours(browser: Browser) -> None:
    tab = browser.open("refused", forced=True)
    keep(tab, "refused 1280 forced")
    assert inspect(tab) == []
    colour = "getComputedStyle(document.querySelector({!r}))[{!r}]"
    wanted = (("body", "color"), (".left", "fill"), ("svg", "backgroundColor"), (".due", "fill"))
    ink, left, track, due = (tab.run(colour.format(*each)) for each in wanted)
    assert left == ink
    assert len({left, track, due}) == 3


def test_a_bar_is_as_long_as_the_time_left(browser: Browser) -> None:
    tab = browser.open("well", width=320)
    width = "document.querySelector({!r}).getBoundingClientRect().width"
    assert tab.run(width.format(".left")) / tab.run(width.format("svg")) == pytest.approx(50 / 60, abs=0.02)


def test_names_and_messages_stay_text(browser: Browser) -> None:
    tab = browser.open("hostile")
    assert tab.run("document.title").endswith(": inlive-token-refresher")
    assert tab.run("document.querySelectorAll('script, img').length") == 0
    assert tab.run("document.body.innerText").count(EVIL) > 20
    assert tab.log == []


@pytest.mark.parametrize(
    "harm",
    [
        "document.body.append(Object.assign(document.createElement('script'), {text: 'document.title = 1'}))",
        "document.body.append(Object.assign(document.createElement('style'), {textContent: 'p {left: 0}'}))",
        "document.body.setAttribute('style', 'left: 0')",
        "document.body.append(Object.assign(new Image(), {src: '/metrics'}))",
    ],
)
def test_the_browser_runs_and_loads_nothing_else(browser: Browser, harm: str) -> None:
    tab = browser.open("well")
    report = "document.onsecuritypolicyviolation = () => done(true); setTimeout(() => done(false), 10000)"
    assert tab.run(f"new Promise(done => {{ {report}; {harm} }})")
    assert "Content Security Policy" in "".join(tab.log)


def test_a_screen_reader_finds_landmarks_headings_and_states(browser: Browser) -> None:
    nodes = browser.open("refused").accessible()
    landmarks = ("banner", "navigation", "main")
    assert tuple(role for role, _ in nodes if role in landmarks) == landmarks
    names = {role: [name for found, name in nodes if found == role] for role, _ in nodes}
    assert names["region"] == ["studio", "lobby"]
    assert names["heading"] == [
        "inlive-token-refresher",
        "Tokens that need attention: 1 of 2",
        "Tokens",
        *("studio", "Outputs", "lobby", "Outputs"),
    ]
    assert "! valid, but failing" in names["StaticText"]
    assert "image" not in names  # the text beside a bar says the same


def test_the_keyboard_reaches_every_link_and_shows_where_it_is(browser: Browser) -> None:
    tab = browser.open("refused")
    reached = []
    for _ in range(tab.run("document.links.length")):
        tab.press("Tab")
        reached.append(tab.run("document.activeElement.textContent"))
        assert tab.run("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert reached == ["Metrics", "JSON", "Readiness", "Liveness", "Renew every 10 s", "studio"]
    tab.press("Enter")
    assert tab.run("document.querySelector(':target').textContent") == "studio"


def test_axe_accepts_the_renewal_only_because_the_reader_asked_for_it(browser: Browser) -> None:
    (objection,) = inspect(browser.open("well", query="?renew"))
    assert objection.startswith("meta-refresh: ")  # WCAG 2.2.1: a link turns it off
