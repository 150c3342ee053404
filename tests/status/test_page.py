"""The status as a page in a browser."""

import re
from html.parser import HTMLParser
from typing import Any

from hypothesis import given, settings

from refresher.status.page import page
from tests.core.builders import KEY, token
from tests.observed import at_work
from tests.status.documents import document, foreign_documents, in_trouble

VOID = {"meta"}


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


def test_the_page_shows_each_token_and_output() -> None:
    daemon = at_work("studio")
    daemon.clock.time += 600.0
    read = Reader(page(document(daemon)))
    assert [section["class"] for section in read.named("section")] == ["token yes", "output yes"]
    assert "valid · 50m left · expires 2027-01-15T09:00:00Z · next mint in 32m, scheduled" in read.texts
    assert "inlive-token-refresher" in read.texts  # the title: nothing is wrong


def test_a_problem_shows_in_the_title_the_sections_and_the_text() -> None:
    read = Reader(page(document(in_trouble())))
    assert "! inlive-token-refresher" in read.texts
    assert [section["class"] for section in read.named("section")] == ["token NO", "output NO", "output NO"]
    assert [text.count("cannot write /full/token: no space left") for text in read.texts].count(1) == 1
    assert any(f"the issuer answered 403 (key {KEY.fingerprint})" in text for text in read.texts)


def test_an_expired_token_shows_how_long_ago_it_expired() -> None:
    daemon = at_work("studio")
    daemon.clock.time += 3660.0
    texts = Reader(page(document(daemon))).texts
    assert "NOT VALID · expired 1m ago · expires 2027-01-15T09:00:00Z" in texts


def test_the_page_renews_itself_fits_a_phone_and_follows_dark_mode() -> None:
    text = page(document(at_work("studio")))
    metas = Reader(text).named("meta")
    assert {"http-equiv": "refresh", "content": "10"} in metas
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
    assert re.search(r"color-scheme:\s*light dark", text)


def test_the_page_has_no_script_and_loads_nothing() -> None:
    read = Reader(page(document(in_trouble())))
    assert {tag for tag, _ in read.elements}.isdisjoint({"script", "link", "img", "iframe"})
    names = {name for _, attributes in read.elements for name in attributes}
    assert names == {"lang", "charset", "name", "content", "http-equiv", "class"}


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
    allowed = {"html", "head", "meta", "title", "style", "body", "h1", "section", "h2", "h3", "p"}
    assert {tag for tag, _ in Reader(text).elements} <= allowed


def test_the_page_contains_no_secret() -> None:
    secret = token()
    text = page(document(at_work("studio")))
    assert secret.refresh_token is not None
    for each in (KEY, secret.access, secret.refresh_token):
        assert each.reveal() not in text
