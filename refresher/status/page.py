"""The status as a page for a browser. It has no script, loads nothing and renews itself."""

from collections.abc import Mapping
from html import escape
from typing import Any

from refresher.status.rows import UNKNOWN, Row, headline, lease_lines, rows

EVERY = 10  # seconds between two renewals

_STYLE = """\
:root { color-scheme: light dark; --good: #2a8a3e; --bad: #d33 }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem }
h1, h2, h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere }
h3 { font-weight: normal; font-family: ui-monospace, monospace }
section { margin: 1rem 0; padding-left: .75rem; border-left: .3rem solid GrayText }
section.output { margin-left: 1.25rem }
section.yes { border-color: var(--good) }
section.NO { border-color: var(--bad) }
p { margin: 0; overflow-wrap: anywhere }
p.problem { font-weight: bold }"""


def page(document: Mapping[str, Any]) -> str:
    """A status document as HTML, with all texts escaped. It fits a phone, and is dark or light as the browser
    is."""
    mark = "" if document.get("valid") is True else "! "  # visible in a background tab
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{EVERY}">
<title>{mark}inlive-token-refresher</title>
<style>
{_STYLE}
</style>
</head>
<body>
<h1>{escape(headline(document))}</h1>
{"".join(f"<p>{escape(line)}</p>" for line in lease_lines(document))}
{"".join(map(_section, rows(document)))}</body>
</html>
"""


def _section(row: Row) -> str:
    kind, heading = ("output", "h3") if row.is_output else ("token", "h2")
    valid = {"yes": "valid", "NO": "NOT VALID"}.get(row.valid, "validity unknown")
    is_past = row.left.startswith("-") and row.left != UNKNOWN
    left = f"expired {row.left[1:]} ago" if is_past else f"{row.left} left"
    terms = [valid, left, f"expires {row.expires}"]
    if row.next_mint:
        terms.append(f"next mint {row.next_mint}")
    if row.remark:
        terms.append(row.remark)
    known = [term for term in terms if UNKNOWN not in term.split()]
    lines = [
        f'<section class="{kind} {row.valid if row.valid in ("yes", "NO") else "unknown"}">',
        f"<{heading}>{escape(row.name)}</{heading}>",
        f"<p>{escape(' · '.join(known))}</p>",
        *(f'<p class="problem">{escape(str(problem))}</p>' for problem in row.problems),
        "</section>",
    ]
    return "\n".join(lines) + "\n"
