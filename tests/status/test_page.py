"""The status as a page in a browser."""

import hashlib
import re
from base64 import b64encode
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings

from refresher.core.advice import ADVICE_ON, Code
from refresher.core.events import MintFailed, WriteFailed
from refresher.core.problems import of_lease
from refresher.core.status import LeaseStatus
from refresher.status.page import POLICY, page
from refresher.status.selection import PER_PAGE, Selection, selection_of
from tests.core.builders import KEY, NOW, UNREACHABLE, token
from tests.observed import at_work
from tests.status.documents import document, elapse, foreign_documents, in_trouble, refuse

VOID = {"meta", "br"}
ELEMENTS = VOID | {
    *("html", "head", "title", "style", "body", "header", "nav", "main", "section", "h1", "h2", "h3", "h4"),
    *("div", "p", "ul", "li", "dl", "dt", "dd", "a", "span", "strong", "bdi", "svg", "rect"),
}


class Reader(HTMLParser):
    """A page as a browser reads it: elements, which must be nested properly, and texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def stranger(text: str) -> dict[str, Any]:
    """A document with `text` in every field."""
    problem = {"code": text, "message": text, "since": text, "count": text, "advice": text}
    output = {"name": text, "valid": True, "expires_at": text, "problem": problem}
    shown = {
        "name": text,
        "expires_at": text,
        "next_reason": text,
        "problems": [problem],
        "outputs": [output],
    }
    return {"version": text, "time": text, "valid": text, "tokens": [shown]}


def shape(read: Reader) -> list[tuple[str, float, float | None]]:
    """Of each bar: the kind, the percentage that is filled, and where the mark of the next mint is."""
    found: list[tuple[str, float, float | None]] = []
    for tag, attributes in read.elements:
        if tag == "svg":
            found.append((attributes["class"] or "", 0.0, None))
        elif tag == "rect" and attributes["class"] == "left":
            found[-1] = (found[-1][0], float((attributes["width"] or "").rstrip("%")), None)
        elif tag == "rect":
            found[-1] = (*found[-1][:2], float((attributes["x"] or "").rstrip("%")))
    return found


def test_the_page_shows_each_token_and_output() -> None:
    daemon = at_work("studio")
    daemon.clock.time += 600.0
    read = Reader(page(document(daemon)))
    for text in ("studio", "file:/a", "50m of 1h", "2027-01-15T09:00:00Z", "in 32m, scheduled", "✓ valid"):
        assert text in read.texts
    for text in ("host-1", "1.2.3", "2027-01-15T08:00:00Z", "2027-01-15T08:10:00Z"):
        assert text in read.texts  # the daemon, when it started, and the time
    assert "host-1: inlive-token-refresher" in read.texts  # the title: nothing is wrong
    assert "Tokens that need attention" not in "".join(read.texts)


def test_a_bar_shows_the_share_of_the_time_that_is_left_and_when_the_refresh_is_due() -> None:
    daemon = at_work("studio")
    daemon.clock.time += 600.0
    bar = ("good", 83.33, 30.0)  # 50 of 60 minutes are left; the refresh is due when 18 minutes are
    assert shape(Reader(page(document(daemon)))) == [bar, bar]
    daemon.clock.time += 3000.0
    assert [filled for _, filled, _ in shape(Reader(page(document(daemon))))] == [0.0, 0.0]


def test_the_mark_on_a_bar_stays_where_the_token_was_due_while_attempts_fail() -> None:
    daemon = at_work("studio")
    elapse(daemon, 2700.0)
    daemon.observe("studio", MintFailed(KEY, UNREACHABLE, roll=1.0))
    read = Reader(page(document(daemon)))
    assert [mark for _, _, mark in shape(read)] == [30.0, 30.0]
    assert read.texts.count("3m ago, 2027-01-15T08:42:00Z") == 1
    assert read.texts.count("in 2s, scheduled") == 1


def test_a_refused_configuration_shows_its_mistakes_and_what_to_do_once() -> None:
    daemon = at_work("studio")
    refuse(daemon, "c.yaml:3: <b>wrong</b>", "c.yaml:9: this too")
    read = Reader(page(document(daemon)))
    assert "! Every output holds a valid token, but something fails" in read.texts
    assert "! host-1: inlive-token-refresher" in read.texts
    for text in ("c.yaml:3: <b>wrong</b>", "c.yaml:9: this too", ADVICE_ON[Code.CONFIGURATION_REFUSED]):
        assert read.texts.count(text) == 1


def test_a_bar_of_another_token_in_an_output_has_no_mark() -> None:
    status = document(at_work("studio"))
    status["tokens"][0]["outputs"][0]["token_fingerprint"] = "another"
    assert [mark for _, _, mark in shape(Reader(page(status)))] == [30.0, None]


def test_a_problem_shows_since_when_how_often_and_what_to_do() -> None:
    daemon = in_trouble()
    daemon.clock.time += 300.0
    text = page(document(daemon))
    read = Reader(text)
    assert "! host-1: inlive-token-refresher" in read.texts
    assert read.named("section") == [{"class": "token bad", "aria-labelledby": "token-0"}]
    assert {"href": "#token-0"} in read.named("a")
    assert read.texts.count("cannot write /full/token: no space left") == 1  # below the output, not twice
    assert read.texts.count(f"the issuer answered 403 (key {KEY.fingerprint})") == 1
    assert read.texts.count("for 5m (since 2027-01-15T08:00:00Z, once)") == 2
    for problem in document(daemon)["tokens"][0]["problems"]:
        assert problem["code"] in read.texts
        assert problem["advice"] in read.texts


def test_a_failure_while_every_token_is_valid_shows_in_title_verdict_and_token() -> None:
    daemon = at_work("studio", "lobby")
    daemon.observe("lobby", WriteFailed("file:/a", "no space left", roll=1.0))
    read = Reader(page(document(daemon)))
    assert "! host-1: inlive-token-refresher" in read.texts
    assert "! Every output holds a valid token, but something fails" in read.texts
    assert [section["class"] for section in read.named("section")] == ["token late", "token good"]
    assert "Tokens that need attention: 1 of 2" in read.texts


def test_an_expired_token_shows_how_long_ago_it_expired() -> None:
    daemon = at_work("studio")
    daemon.clock.time += 3660.0
    texts = Reader(page(document(daemon))).texts
    assert texts.count("✗ NOT VALID") == 3  # in the list on top, of the token, and of its output
    assert texts.count("1m ago, ") == 2


def test_a_problem_with_a_lease_shows_in_the_title() -> None:
    lease = LeaseStatus("inlive/a", leads=False, problem=of_lease("403: forbidden", None, NOW))
    texts = Reader(page(document(at_work("studio"), lease))).texts
    assert "! host-1: inlive-token-refresher" in texts
    assert any("403: forbidden" in text for text in texts)


def test_the_page_renews_itself_only_when_asked() -> None:
    status = document(at_work("studio"))
    still, renewing = Reader(page(status)), Reader(page(status, Selection(renews=True)))
    refresh = {"http-equiv": "refresh", "content": "10"}
    assert refresh not in still.named("meta")
    assert refresh in renewing.named("meta")
    assert {"href": "?renew"} in still.named("a")
    assert {"href": "?"} in renewing.named("a")


MANY = 2 * PER_PAGE + 1


def names_on(read: Reader) -> list[str]:
    """The tokens that have a section, in order. Each has the output "beside"."""
    texts = [text.strip() for text in read.texts]
    return [text for text in texts if re.fullmatch(r"(good|bad)-\d+", text)]


def crowd() -> dict[str, Any]:
    """Many tokens; the last one is not valid."""
    tokens = [{"name": f"good-{number}", "valid": True, "outputs": []} for number in range(MANY - 1)]
    tokens.append({"name": f"bad-{MANY - 1}", "valid": False, "outputs": []})
    return {"valid": False, "tokens": tokens}


def test_a_long_page_shows_first_what_needs_attention_and_links_to_the_next_page() -> None:
    first = Reader(page(crowd()))
    assert "Tokens that need attention: 1 of 201" in first.texts
    assert names_on(first)[:3] == ["bad-200", "bad-200", "good-0"]  # in the list, and its section
    assert len(names_on(first)) == 1 + PER_PAGE
    assert {"href": "?page=2"} in first.named("a")
    middle = Reader(page(crowd(), Selection(page=2))).named("a")
    assert {"href": "?"} in middle
    assert {"href": "?page=3"} in middle
    last = Reader(page(crowd(), Selection(page=3)))
    assert names_on(last) == ["good-199"]
    assert "Tokens: 201 to 201 of 201" in last.texts
    assert {"href": "?page=2"} in last.named("a")
    assert {"href": "?page=4"} not in last.named("a")
    assert "Tokens: none of 201" in Reader(page(crowd(), Selection(page=9))).texts


def test_a_page_can_show_the_tokens_with_a_part_of_a_name() -> None:
    read = Reader(page(crowd(), Selection("ad-2", renews=True)))
    assert names_on(read) == ["bad-200", "bad-200"]
    assert "ad-2" in read.texts
    assert {"href": "?token=ad-2"} in read.named("a")  # stops renewing, and keeps the filter


def test_a_short_page_has_no_pages() -> None:
    assert {"aria-label": "Pages"} not in Reader(page(document(at_work("studio")))).named("nav")


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", Selection()),
        ("renew", Selection(renews=True)),
        ("token=a%26b&page=3", Selection("a&b", 3)),
        ("page=0", Selection()),
        ("page=-1", Selection()),
        ("page=\u0663", Selection()),
        (f"page={'9' * 5000}", Selection()),
        ("token", Selection()),
    ],
)
def test_the_query_of_an_address_selects_tokens(query: str, wanted: Selection) -> None:
    assert selection_of(query) == wanted
    assert selection_of(wanted.href.removeprefix("?")) == wanted


def test_the_page_has_no_script_and_loads_nothing() -> None:
    read = Reader(page(document(in_trouble())))
    assert {tag for tag, _ in read.elements}.isdisjoint({"script", "link", "img", "iframe", "form"})
    names = {name for _, attributes in read.elements for name in attributes if name is not None}
    assert not [name for name in names if name.startswith("on") or name in ("src", "style")]


def test_the_policy_allows_the_style_of_the_page_and_nothing_else() -> None:
    text = page(document(at_work("studio")))
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'; " in POLICY
    assert POLICY.startswith("default-src 'none'; ")


def test_no_name_or_problem_becomes_markup() -> None:
    evil = "</p><script>alert('1')</script> & \"quoted\" <b onclick=x>"
    read = Reader(page(stranger(evil)))
    assert {tag for tag, _ in read.elements} == {tag for tag, _ in Reader(page(stranger("good"))).elements}
    assert sum(text.count(evil) for text in read.texts) > 4  # names, codes and messages, as they are


@settings(deadline=None)
@given(foreign_documents())
def test_every_document_is_a_well_formed_page(foreign: dict[str, Any]) -> None:
    text = page(foreign)
    text.encode()
    assert {tag for tag, _ in Reader(text).elements} <= ELEMENTS


def test_the_page_contains_no_secret() -> None:
    secret = token()
    text = page(document(at_work("studio")))
    assert secret.refresh_token is not None
    for each in (KEY, secret.access, secret.refresh_token):
        assert each.reveal() not in text
