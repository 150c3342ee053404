"""The status as a page for a browser, and the policy under which the browser may show it.

The page has no script and loads nothing. It fits a telephone, follows the browser's dark or light mode, and
works without colours: each colour comes with a word.

It does not renew itself unless the reader asks: a screen reader would start again every few seconds
(WCAG 2.2.1). A link switches the renewal on and off.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from refresher.core.durations import humanized
from refresher.status.rows import UNKNOWN, number, objects, shown, wall

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
.left { fill: var(--good) } .late .left { fill: var(--late) } .due { fill: var(--ink); stroke: var(--paper) }
@media (forced-colors: active) {
  svg { forced-color-adjust: none; background: Canvas; border-color: CanvasText }
  svg .left { fill: CanvasText }
  .due { fill: Highlight; stroke: Canvas }
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
Object = Mapping[str, Any]


def page(document: Object, *, renews: bool = False) -> str:
    """A status document as HTML, with all its texts escaped. Fields that are missing or misformed are left
    out. `renews`: the browser loads the page again every EVERY seconds."""
    tokens = objects(document, "tokens")
    now = wall(document.get("time"))
    kinds = [_kind(token) for token in tokens]
    kind = _verdict(document, kinds)
    host = shown(document.get("host"))
    title = f"{'' if kind == 'good' else '! '}{'' if host == UNKNOWN else f'{host}: '}inlive-token-refresher"
    renewal = f'<meta http-equiv="refresh" content="{EVERY}">\n' if renews else ""
    sections = "".join(
        _token(number, *found, now) for number, found in enumerate(zip(tokens, kinds, strict=True))
    )
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
{_facts(_of_daemon(document))}
{_links(renews=renews)}
</header>
<main>
{_attention(tokens, kinds)}<h2>Tokens</h2>
<p class="legend faint">A bar shows the time left. The line across it marks the next mint.</p>
{sections or "<p>There are no tokens.</p>"}</main>
</body>
</html>
"""


def _kind(status: Object) -> str:
    """The state of a token or output: a key of _WORDS and a class of the style."""
    if not isinstance(status.get("valid"), bool):
        return "unknown"
    if not status["valid"]:
        return "bad"
    fails = status.get("problems") or status.get("problem") or _hook(status).get("problem")
    return "late" if fails else "good"


def _verdict(document: Object, kinds: Iterable[str]) -> str:
    whole = _kind({"valid": document.get("valid")})
    fails = any(lease.get("problem") for lease in objects(document, "leases")) or "late" in kinds
    return "late" if whole == "good" and fails else whole


def _of_daemon(document: Object) -> Iterator[tuple[str, str]]:
    yield "Host", _foreign(document.get("host"))
    yield "Version", _foreign(document.get("version"))
    yield "Time", _foreign(document.get("time"))
    yield "Running since", _foreign(document.get("started_at"))
    for lease in objects(document, "leases"):
        leads = "this process leads" if lease.get("leads") is True else "standby"
        holder = f"; {_foreign(lease['holder'])} leads" if lease.get("holder") else ""
        problem = f"; {_foreign(lease['problem'])}" if lease.get("problem") else ""
        yield "Lease", f"{_foreign(lease.get('lease'))}, {leads}{holder}{problem}"


def _links(*, renews: bool) -> str:
    renewal = ("?", "Stop renewing") if renews else ("?renew", f"Renew every {EVERY} s")
    links = (
        renewal,
        ("metrics", "Metrics"),
        ("status?format=json", "JSON"),
        ("readyz", "Readiness"),
        ("livez", "Liveness"),
    )
    items = "".join(f'<li><a href="{href}">{text}</a></li>' for href, text in links)
    return f'<nav aria-label="Endpoints"><ul>{items}</ul></nav>'


def _attention(tokens: list[Object], kinds: list[str]) -> str:
    """Links to the tokens that are not well. Empty when all are."""
    items = [
        f'<li><a href="#token-{number}">{_foreign(token.get("name"))}</a> '
        f'<span class="state {kind}">{_WORDS[kind]}</span></li>'
        for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind != "good"
    ]
    if not items:
        return ""
    heading = f"Tokens that need attention: {len(items)} of {len(tokens)}"
    return f"<h2>{heading}</h2>\n<ul>{''.join(items)}</ul>\n"


def _token(number: int, token: Object, kind: str, now: float | None) -> str:
    due = wall(token.get("next_refresh_at"))
    held = token.get("token_fingerprint")
    outputs = "".join(
        _output(output, due if output.get("token_fingerprint") == held else None, now)
        for output in objects(token, "outputs")
    )
    return f"""\
<section class="token {kind}" aria-labelledby="token-{number}">
<div class="head"><h3 id="token-{number}">{_foreign(token.get("name"))}</h3>
<p class="state {kind}">{_WORDS[kind]}</p></div>
{_bar(token, kind, due)}{_facts(_of_token(token, due, now))}
{_problems(_of_token_alone(token), now)}<h4>Outputs</h4>
<ul class="outputs">{outputs}</ul>
</section>
"""


def _of_token(token: Object, due: float | None, now: float | None) -> Iterator[tuple[str, str]]:
    yield from _terms(token)
    if due is not None and now is not None:
        when = f"in {humanized(due - now)}" if due > now else "now"
        yield "Next mint", f"{when}, {_foreign(token.get('next_reason'))}"
    if key := _foreign(token.get("key_fingerprint")):
        verdicts = ((True, "accepted"), (False, "refused"))
        accepted = next(
            (word for value, word in verdicts if token.get("key_accepted") is value), "not tried yet"
        )
        yield "Key", f"{key}, {accepted}"


def _terms(status: Object) -> Iterator[tuple[str, str]]:
    left, issued, expires = (
        number(status.get("remaining_seconds")),
        wall(status.get("issued_at")),
        wall(status.get("expires_at")),
    )
    if left is not None and left <= 0:
        yield "Expired", f"{humanized(-left)} ago"
    elif left is not None:
        whole = "" if issued is None or expires is None else f" of {humanized(expires - issued)}"
        yield "Left", f"{humanized(left)}{whole}"
    yield "Expires", _foreign(status.get("expires_at"))


def _output(output: Object, due: float | None, now: float | None) -> str:
    kind = _kind(output)
    hook = _hook(output)
    facts = [*_terms(output), ("Owner", _foreign(output.get("owner")))]
    if hook.get("owed") is True:
        facts.append(("Hook", "not run yet"))
    return f"""\
<li><div class="head"><p class="name">{_foreign(output.get("name"))}</p>
<p class="state {kind}">{_WORDS[kind]}</p></div>
{_bar(output, kind, due)}{_facts(facts)}{_problems(_of_output(output), now)}</li>
"""


def _hook(output: Object) -> Object:
    hook = output.get("hook")
    return hook if isinstance(hook, Mapping) else {}


def _of_output(output: Object) -> list[Object]:
    """The problems of an output and of its hook."""
    problem, of_hook = output.get("problem"), _hook(output).get("problem")
    found = [problem] if isinstance(problem, Mapping) else []
    if isinstance(of_hook, Mapping):
        found.append({**of_hook, "message": f"hook: {of_hook.get('message')}"})
    return found


def _of_token_alone(token: Object) -> list[Object]:
    """The problems of a token, without those that its outputs show."""
    below = {
        f"{output.get('name')}: {problem.get('message')}"
        for output in objects(token, "outputs")
        for problem in _of_output(output)
    }
    return [problem for problem in objects(token, "problems") if problem.get("message") not in below]


def _problems(problems: list[Object], now: float | None) -> str:
    items = "".join(f"<li>{_problem(problem, now)}</li>" for problem in problems)
    return f'<ul class="problems">{items}</ul>\n' if items else ""


def _problem(problem: Object, now: float | None) -> str:
    since, count = wall(problem.get("since")), number(problem.get("count"))
    how_often = [] if count is None else [f"{count:.0f} failures in a row"]
    if since is not None:
        ago = "" if now is None else f" ({humanized(now - since)} ago)"
        how_often.append(f"since {_foreign(problem['since'])}{ago}")
    lines = [
        f"<p><strong>{_foreign(problem.get('code'))}</strong>: {_foreign(problem.get('message'))}</p>",
        f"<p>{', '.join(how_often)}</p>" if how_often else "",
        f"<p>What to do: {_foreign(problem['advice'])}</p>" if problem.get("advice") else "",
    ]
    return "".join(lines)


def _bar(status: Object, kind: str, due: float | None) -> str:
    """How much of the token's life is left, and where the next mint is planned. The text beside it has the
    same facts, so a screen reader skips it."""
    left, issued, expires = (
        number(status.get("remaining_seconds")),
        wall(status.get("issued_at")),
        wall(status.get("expires_at")),
    )
    if left is None or issued is None or expires is None or expires <= issued:
        return ""
    share = 100 * min(max(left / (expires - issued), 0.0), 1.0)
    mark = ""
    if due is not None and issued <= due <= expires:
        at = 100 * (expires - due) / (expires - issued)
        mark = f'<rect class="due" x="{at:.2f}%" width="3" height="100%"/>'
    return (
        f'<svg class="{kind}" aria-hidden="true">'
        f'<rect class="left" width="{share:.2f}%" height="100%"/>{mark}</svg>\n'
    )


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of terms with their values, which are HTML. Unknown values are left out."""
    items = "".join(f"<div><dt>{term}</dt> <dd>{value}</dd></div>" for term, value in pairs if value)
    return f"<dl>{items}</dl>\n" if items else ""


def _foreign(value: object) -> str:
    """A text from outside as HTML. Right-to-left letters do not reorder the text around it."""
    text = shown(value)
    return "" if text == UNKNOWN else f"<bdi>{escape(text)}</bdi>"
