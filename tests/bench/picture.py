"""Draws the pictures of the bench as SVG: curves over powers of ten, and histograms."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

WIDTH, HEIGHT = 460, 250  # of one panel, in pixels
LEFT, RIGHT, TOP, BOTTOM = 64, 30, 34, 40
STYLE = "font: 12px sans-serif; fill: #222"
COLOURS = ("#1864ab", "#c92a2a")


class Panel(NamedTuple):
    """One chart. `body`: its SVG elements."""

    body: str


def curve(title: str, unit: str, points: Mapping[int, float], floor: float | None = None) -> Panel:
    """A positive figure by the number of tokens, both axes logarithmic. `floor`: of a bare script."""
    values = [*points.values(), *([floor] if floor else [])]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
    high = max(high, low + 1)
    most = max(math.log10(max(points)), 1.0)

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * math.log10(x) / most
        return across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(y) - low) / (high - low)

    parts = [_text(LEFT, 20, f"{title} ({unit})")]
    for power in range(low, high + 1):
        _, down = at(1, 10.0**power)
        parts += [
            _line((LEFT, down), (WIDTH - RIGHT, down), "#ddd"),
            _text(LEFT - 6, down + 4, f"{10.0**power:g}", "end"),
        ]
    for tokens in points:
        across, _ = at(tokens, 10.0**low)
        parts.append(_text(across, HEIGHT - BOTTOM + 18, f"{tokens:,}", "middle"))
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 6, "tokens", "end"))
    if floor:
        _, down = at(1, floor)
        parts += [
            _line((LEFT, down), (WIDTH - RIGHT, down), COLOURS[1], "4 3"),
            _text(WIDTH - RIGHT, down - 4, "a bare script", "end"),
        ]
    line = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in points.items())
    parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[0]}" stroke-width="2"/>')
    for x, y in points.items():
        across, down = at(x, y)
        parts.append(f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3" fill="{COLOURS[0]}"/>')
        parts.append(_text(across, down - 8, f"{y:.3g}", "end" if x == max(points) else "middle"))
    return Panel("".join(parts))


def histogram(title: str, counts: Sequence[int]) -> Panel:
    """A bar for each minute."""
    most = max(counts)
    step = (WIDTH - LEFT - RIGHT) / len(counts)
    parts = [_text(LEFT, 20, title), _text(WIDTH - RIGHT, HEIGHT - 6, "minutes", "end")]
    for share in (0.0, 0.5, 1.0):
        down = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
        parts += [
            _line((LEFT, down), (WIDTH - RIGHT, down), "#ddd"),
            _text(LEFT - 6, down + 4, f"{share * most:.0f}", "end"),
        ]
    for number, count in enumerate(counts):
        tall = (HEIGHT - TOP - BOTTOM) * count / most
        parts.append(
            f'<rect x="{LEFT + number * step:.2f}" y="{HEIGHT - BOTTOM - tall:.2f}" width="{step:.2f}" '
            f'height="{tall:.2f}" fill="{COLOURS[0]}"/>'
        )
    for number in range(0, len(counts) + 1, max(1, len(counts) // 6)):
        parts.append(_text(LEFT + number * step, HEIGHT - BOTTOM + 18, f"{number}", "middle"))
    return Panel("".join(parts))


def save(path: Path, panels: Sequence[Panel], columns: int = 2) -> None:
    """Write the panels side by side into one SVG file."""
    rows = -(-len(panels) // columns)
    size = f'width="{columns * WIDTH}" height="{rows * HEIGHT}"'
    groups = (
        f'<g transform="translate({number % columns * WIDTH} {number // columns * HEIGHT})">{panel.body}</g>'
        for number, panel in enumerate(panels)
    )
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    inside = "\n".join([background, *groups])
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="{STYLE}">\n{inside}\n</svg>\n')


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _line(start: tuple[float, float], end: tuple[float, float], colour: str, dashes: str = "none") -> str:
    (x1, y1), (x2, y2) = start, end
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-dasharray="{dashes}"/>'
