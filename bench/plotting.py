"""Line plots on logarithmic axes as SVG text, without a library: the same numbers give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

COLOURS: Final = ("#2563eb", "#d97706", "#059669", "#7c3aed")
_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 36, 40, 52


@dataclass(frozen=True)
class Point:
    """One measured size: the median of the rounds, the least and the most."""

    x: float
    median: float
    least: float
    most: float


def draw_plot(title: str, x_label: str, y_label: str, lines: Mapping[str, Sequence[Point]], note: str = "") -> str:
    """Return the SVG of these lines; whiskers show the spread of the rounds. All values must be greater than zero."""
    points = [point for line in lines.values() for point in line]
    x_decades = _decades([point.x for point in points])
    y_decades = _decades([value for point in points for value in (point.least, point.most)])

    def to_x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * _share(value, x_decades)

    def to_y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * _share(value, y_decades)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="system-ui, sans-serif" font-size="12">',
        f'<title>{escape(title)}</title><rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _text(_LEFT, 20, title, size=14, weight="600"),
        _text(_WIDTH / 2, _HEIGHT - 18, x_label, anchor="middle"),
        f'<g transform="rotate(-90 16 {_HEIGHT / 2:g})">{_text(16, _HEIGHT / 2, y_label, anchor="middle")}</g>',
    ]
    if note:
        parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 4, note, anchor="end", size=10))
    for exponent in range(x_decades[0], x_decades[1] + 1):
        x = to_x(10.0**exponent)
        parts += [_rule(x, _TOP, x, _HEIGHT - _BOTTOM), _text(x, _HEIGHT - _BOTTOM + 16, _name(exponent), anchor="middle")]
    for exponent in range(y_decades[0], y_decades[1] + 1):
        y = to_y(10.0**exponent)
        parts += [_rule(_LEFT, y, _WIDTH - _RIGHT, y), _text(_LEFT - 6, y + 4, _name(exponent), anchor="end")]
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        track = " ".join(f"{to_x(point.x):.1f},{to_y(point.median):.1f}" for point in line)
        parts.append(f'<polyline points="{track}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in line:
            x = to_x(point.x)
            parts.append(_rule(x, to_y(point.least), x, to_y(point.most), colour))
            parts.append(f'<circle cx="{x:.1f}" cy="{to_y(point.median):.1f}" r="3" fill="{colour}"/>')
        parts += [f'<rect x="{_LEFT + 8}" y="{_TOP + 6 + 18 * number}" width="10" height="10" fill="{colour}"/>']
        parts += [_text(_LEFT + 24, _TOP + 15 + 18 * number, name)]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) - 1e-9)
    return low, max(high, low + 1)


def _share(value: float, decades: tuple[int, int]) -> float:
    return (math.log10(value) - decades[0]) / (decades[1] - decades[0])


def _name(exponent: int) -> str:
    return f"{10**exponent:,}".replace(",", " ") if exponent >= 0 else f"{10.0**exponent:g}"


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: str = "400") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f'<text {place} fill="#1f2937">{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str = "#e5e7eb") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'
