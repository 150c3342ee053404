"""The status as a page for a browser, and the policy under which the browser may show it.

The page has no script and loads nothing. It fits a telephone, follows the browser's dark or light mode, and
works without colours: each colour comes with a word.

It does not renew itself unless the reader asks: a screen reader would start again every few seconds
(WCAG 2.2.1). A link switches the renewal on and off.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from refresher.core.durations import humanized
from refresher.status.rows import (
    UNKNOWN,
    URGENCY,
    Kind,
    Row,
    RowProblem,
    advice_once,
    configuration_since,
    kind_of,
    lease_lines,
    number,
    objects,
    problems_of_daemon,
    rows_by_token,
    shown,
    wall,
)
from refresher.status.selection import ALL, Selection, links_between, matches, visible_of

EVERY = 10  # seconds between two renewals

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --faint: #50575f; --paper: #fff; --card: #f4f6f8;
  --track: #d3d8de; --link: #0b57b0; --good: #187a3a; --late: #8f5200; --bad: #b3201b }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9ecef; --faint: #aab2bb; --paper: #121518; --card: #1d2126;
    --track: #474f58; --link: #8ab8ff; --good: #56c97c; --late: #f0b35a; --bad: #ff8f87 }
}
* { box-sizing: border-box }
body { font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere }
a { color: var(--link); padding: .125rem 0 }
h1, h2, h3, h4, p, ul, dl, dd { margin: 0; padding: 0 }
h1 { font-size: 1.25rem }
h2 { font-size: 1.125rem; margin: 1.5rem 0 .5rem }
h3, .verdict { font-size: 1rem }
h4 { font-size: .875rem; color: var(--faint); margin-top: .75rem }
ul { list-style: none }
dl, nav ul, .head { display: flex; flex-wrap: wrap; gap: 0 1.25rem }
.head { justify-content: space-between }
dl div { min-width: 0 }
dt, dd { display: inline }
dt, .faint { color: var(--faint) }
dt::after { content: ":" }
header > * + * { margin-top: .5rem }
.legend { margin-bottom: .75rem }
code, .name { font-family: ui-monospace, monospace; font-size: .9375em }
.token { background: var(--card); border-left: .375rem solid var(--track); border-radius: .25rem;
  padding: .75rem 1rem; margin-bottom: .75rem }
.outputs > li { margin-top: .5rem } .outputs svg { height: .5rem } .outputs { font-size: .9375rem }
.state { font-weight: bold }
.good { border-color: var(--good) } .late { border-color: var(--late) } .bad { border-color: var(--bad) }
.state.good { color: var(--good) } .state.late { color: var(--late) } .state.bad { color: var(--bad) }
.problems li { border-left: .1875rem solid var(--bad); padding-left: .625rem; margin-top: .5rem }
svg { display: block; width: 100%; height: .875rem; margin: .25rem 0; border: 1px solid var(--faint);
  background: var(--track) }
.left { fill: var(--good) } svg.late .left { fill: var(--late) }
.due { fill: var(--ink); stroke: var(--paper); stroke-width: 3; paint-order: stroke }
@media (forced-colors: active) {
  :root { --good: CanvasText; --late: CanvasText; --bad: CanvasText; --faint: CanvasText;
    --track: Canvas; --paper: Canvas; --ink: CanvasText }
  svg { forced-color-adjust: none } .due { fill: Highlight }
}
"""
POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_WORDS = {"good": "✓ valid", "late": "! valid, but failing", "bad": "✗ NOT VALID", "unknown": "? unknown"}
_VERDICTS = {
    "good": "✓ Every output holds a valid token",
    "late": "! Every output holds a valid token, but something fails",
    "bad": "✗ NOT EVERY OUTPUT HOLDS A VALID TOKEN",
    "unknown": "? It is unknown whether every output holds a valid token",
}
_LINKS = (
    ("metrics", "Metrics"),
    ("status?format=json", "JSON"),
    ("readyz", "Readiness"),
    ("livez", "Liveness"),
)
Object = Mapping[str, Any]


class _Entry(NamedTuple):
    """A token or an output. `status`: its part of the document. `kind`: a key of _WORDS, and a class of the
    style."""

    status: Object
    row: Row
    kind: Kind
    outputs: tuple["_Entry", ...] = ()


def page(document: Object, wanted: Selection = ALL) -> str:
    """A status document as HTML, with all its texts escaped. Fields that are missing or misformed are left
    out. The tokens that need attention come first. The verdict is that of all tokens."""
    tokens = sorted(_entries(document), key=lambda token: URGENCY[token.kind])
    kind = _verdict(document, tokens)
    host = shown(document.get("host"))
    title = f"{'' if kind == 'good' else '! '}{'' if host == UNKNOWN else f'{host}: '}inlive-token-refresher"
    renewal = f'<meta http-equiv="refresh" content="{EVERY}">\n' if wanted.renews else ""
    matching = [token for token in tokens if matches(token.row.name, wanted.token)]
    visible = visible_of(matching, wanted)
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{renewal}<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>inlive-token-refresher</h1>
<p class="state {kind}">{_VERDICTS[kind]}</p>
{_facts(_of_daemon(document))}{_problems(problems_of_daemon(document))}{_links(wanted)}
</header>
<main>
{_attention(visible, tokens)}<h2>Tokens</h2>
{links_between(wanted, len(matching))}\
<p class="legend faint">A bar shows the time left. The line across it marks when the next mint is due.</p>
{"".join(map(_token, range(len(visible)), visible)) or "<p>There are no tokens.</p>"}</main>
</body>
</html>
"""


def _entries(document: Object) -> Iterator[_Entry]:
    for token, (row, *below) in zip(objects(document, "tokens"), rows_by_token(document), strict=True):
        outputs = zip(objects(token, "outputs"), below, strict=True)
        entries = tuple(_Entry(output, of_output, kind_of(of_output)) for output, of_output in outputs)
        yield _Entry(token, row, kind_of(row, *below), entries)


def _verdict(document: Object, tokens: list[_Entry]) -> Kind:
    """The kind of the whole document."""
    if not isinstance(document.get("valid"), bool):
        return "unknown"
    fails = any(token.kind != "good" for token in tokens) or problems_of_daemon(document)
    return "bad" if document["valid"] is False else "late" if fails else "good"


def _of_daemon(document: Object) -> Iterator[tuple[str, str]]:
    terms = {"Host": "host", "Version": "version", "Time": "time", "Running since": "started_at"}
    yield from ((term, _foreign(shown(document.get(field)))) for term, field in terms.items())
    yield "Configuration since", _foreign(configuration_since(document))
    yield "Leader election", "<br>".join(map(_foreign, lease_lines(document)))


def _links(wanted: Selection) -> str:
    label = "Stop renewing" if wanted.renews else f"Renew every {EVERY} s"
    renewal = (escape(wanted._replace(renews=not wanted.renews).href), label)
    items = "".join(f'<li><a href="{href}">{text}</a></li>' for href, text in (*_LINKS, renewal))
    return f'<nav aria-label="Endpoints"><ul>{items}</ul></nav>'


def _attention(visible: Sequence[_Entry], tokens: Sequence[_Entry]) -> str:
    """Links to the visible tokens that are not well, and their number among all. Empty when all are."""
    items = [
        f'<li><a href="#token-{number}">{_foreign(row.name)}</a> '
        f'<span class="state {kind}">{_WORDS[kind]}</span></li>'
        for number, (_, row, kind, _) in enumerate(visible)
        if kind != "good"
    ]
    unwell = sum(token.kind != "good" for token in tokens)
    heading = f"<h2>Tokens that need attention: {unwell} of {len(tokens)}</h2>"
    return f"{heading}\n<ul>{''.join(items)}</ul>\n" if items else ""


def _token(number: int, token: _Entry) -> str:
    status, row, kind, outputs = token
    due, held = wall(status.get("refresh_due_at")), status.get("token_fingerprint")
    facts = [
        *_terms(token),
        ("Due", _foreign(row.due)),
        ("Next mint", _foreign(row.next_mint)),
        ("Key", _key(status)),
    ]
    below = "".join(
        f"""\
<li><div class="head"><p class="name">{_foreign(output.row.name)}</p>
<p class="state {output.kind}">{_WORDS[output.kind]}</p></div>
{_bar(output, due if output.status.get("token_fingerprint") == held else None)}{_facts(_terms(output))}\
{_problems(output.row.problems)}</li>
"""
        for output in outputs
    )
    return f"""\
<section class="token {kind}" aria-labelledby="token-{number}">
<div class="head"><h3 id="token-{number}">{_foreign(row.name)}</h3>
<p class="state {kind}">{_WORDS[kind]}</p></div>
{_bar(token, due)}{_facts(facts)}{_problems(row.problems)}<h4>Outputs</h4>
<ul class="outputs">
{below}</ul>
</section>
"""


def _terms(entry: _Entry) -> Iterator[tuple[str, str]]:
    status, row, *_ = entry
    expires, whole = _foreign(row.expires), _lifetime(status)
    if row.left.startswith("-") and row.left != UNKNOWN:
        yield "Expired", f"{row.left[1:]} ago, {expires}"
    else:
        if row.left != UNKNOWN:
            yield "Left", f"{row.left} of {humanized(whole)}" if whole else row.left
        yield "Expires", expires
    yield "Origin", _foreign(row.remark) if row.is_output else ""


def _lifetime(status: Object) -> float | None:
    """Seconds from issue to expiry; None if they are unknown."""
    issued, expires = wall(status.get("issued_at")), wall(status.get("expires_at"))
    return expires - issued if issued is not None and expires is not None and expires > issued else None


def _key(status: Object) -> str:
    key, accepted = _foreign(shown(status.get("key_fingerprint"))), status.get("key_accepted")
    verdict = "accepted" if accepted is True else "refused" if accepted is False else "not tried yet"
    return f"{key}, {verdict}" if key else ""


def _problems(problems: Sequence[RowProblem]) -> str:
    items = "".join(f"<li>{_problem(problem)}</li>" for problem in advice_once(problems))
    return f'<ul class="problems">{items}</ul>\n' if items else ""


def _problem(problem: RowProblem) -> str:
    code, message, history, advice = map(_foreign, problem)
    failing = f"<p>Failing {history}</p>" if history else ""
    return f"<p><strong>{code}</strong>: {message}</p>{failing}" + (
        f"<p>What to do: {advice}</p>" if advice else ""
    )


def _bar(entry: _Entry, due: float | None) -> str:
    """How much of the token's life is left, and where it is due. The text below it has the
    same facts, so a screen reader skips it."""
    left, whole, expires = (
        number(entry.status.get("remaining_seconds")),
        _lifetime(entry.status),
        wall(entry.status.get("expires_at")),
    )
    if left is None or whole is None or expires is None:
        return ""
    mark = ""
    if due is not None and 0 <= expires - due <= whole:
        mark = f'<rect class="due" x="{100 * (expires - due) / whole:.2f}%" width="3" height="100%"/>'
    share = 100 * min(max(left / whole, 0.0), 1.0)
    filled = f'<rect class="left" width="{share:.2f}%" height="100%"/>'
    return f'<svg class="{entry.kind}" aria-hidden="true">{filled}{mark}</svg>\n'


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of terms with their values, which are HTML. Unknown values are left out."""
    items = "".join(f"<div><dt>{term}</dt> <dd>{value}</dd></div>" for term, value in pairs if value)
    return f"<dl>{items}</dl>\n" if items else ""


def _foreign(text: str) -> str:
    """A printable text as HTML; empty if it is empty or UNKNOWN. Right-to-left letters in it do not reorder
    the text around it."""
    return "" if text in ("", UNKNOWN) else f"<bdi>{escape(text)}</bdi>"
