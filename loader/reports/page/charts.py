"""Draw charts as SVG: horizontally in percent, so that text keeps its size at every width, and vertically in pixels."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

#: Heights in pixels.
SPARK = 26
BARS, ABOVE, BELOW = 170, 24, 22
STACKS = 141
#: Width of a character of a label, and of the chart on a wide page; labels must not leave it.
LETTER, WIDTH = 6.2, 980
#: Steps of a scale, times a power of ten.
STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


class Bar(NamedTuple):
    """The bars of one part of the period, in front of each other; `title` is shown when the mouse is over them."""

    title: str
    delivered: int
    opened: int
    clicked: int


class Stack(NamedTuple):
    """One bar of people with machines on top."""

    title: str
    label: str
    people: int
    machines: int
    share: str


class Mark(NamedTuple):
    """A text at the bar with a number, from 0."""

    bar: int
    text: str


def scale(largest: int) -> int:
    """Return the step of an axis with two steps, of which the upper end is above the largest value.

    >>> [scale(value) for value in (1060, 7, 1, 0)]
    [600, 4, 1, 1]
    """
    unit = 1
    while 2 * unit * STEPS[-1] * 0.93 < largest:
        unit *= 10
    steps = (step * unit for step in STEPS if 2 * step * unit * 0.93 >= largest)
    return next(int(step) for step in steps if step % 1 == 0)


def draw_course(values: Sequence[float]) -> str:
    """Return a small line with the area below it and a dot at its end; nothing for fewer than two values."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    heights = [SPARK * (1 - (value - low) / ((high - low) or 1) * 0.88) - 3 for value in values]
    points = " ".join(f"{_short(100 * number / (len(values) - 1))},{_short(y)}" for number, y in enumerate(heights))
    return (
        f'<svg class="course" width="100%" height="{SPARK}" aria-hidden="true">'
        f'<svg width="100%" height="{SPARK}" viewBox="0 0 100 {SPARK}" preserveAspectRatio="none">'
        f'<polygon class="area" points="0,{SPARK} {points} 100,{SPARK}"/>'
        f'<polyline class="line" points="{points}" vector-effect="non-scaling-stroke"/></svg>'
        f'<circle class="a" cx="100%" cy="{_short(heights[-1])}" r="2.75"/></svg>'
    )


def draw_bars(
    title: str, bars: Sequence[Bar], names: Sequence[Mark], ticks: Sequence[Mark], axis: Sequence[str]
) -> str:
    """Return the chart of deliveries, opens and clicks.

    `names` are written above bars, the largest first; `ticks` below. `axis` has the texts of 0, one step and two.
    """
    top = 2 * scale(max(bar.delivered for bar in bars))
    pitch, zero = 100 / len(bars), ABOVE + BARS
    parts = [_open(title, "bars", zero + BELOW)]
    for number, text in enumerate(axis):
        y = zero - BARS * number // 2
        parts.append(f'<line class="grid" x2="100%" y1="{y}.5" y2="{y}.5"/>')
        parts.append(f'<text x="-8" y="{y + 4}" text-anchor="end">{escape(text)}</text>')
    for number, bar in enumerate(bars):
        x, width = _percent(pitch * (number + 0.07)), _percent(pitch * 0.86)
        values = zip("lac", (bar.delivered, bar.opened, bar.clicked), strict=True)
        drawn = "".join(_rectangle(kind, x, width, zero, BARS * value / top) for kind, value in values if value)
        parts.append(f"<g><title>{escape(bar.title)}</title>{drawn}</g>")
    parts += [_draw_tick(_percent(pitch * mark.bar), zero, mark.text) for mark in ticks]
    for rank, mark in enumerate(names):
        height = BARS * bars[mark.bar].delivered / top
        parts.append(_draw_name(rank, pitch * (mark.bar + 0.5), zero - height - 7, mark.text))
    return "".join([*parts, "</svg>"])


def draw_stacks(title: str, stacks: Sequence[Stack]) -> str:
    """Return the chart of opens by people and machines."""
    largest = max(stack.people + stack.machines for stack in stacks) or 1
    pitch, zero = 100 / max(len(stacks), 6), 30 + STACKS
    parts = [_open(title, "stacks", zero + 22)]
    for number, stack in enumerate(stacks):
        x, width, middle = _percent(pitch * (number + 0.1)), _percent(pitch * 0.8), _percent(pitch * (number + 0.5))
        people, machines = (STACKS * value / largest for value in (stack.people, stack.machines))
        drawn = _rectangle("a", x, width, zero, people) if stack.people else ""
        drawn += _rectangle("c", x, width, zero - people - 1.5, machines - 1.5) if stack.machines else ""
        parts.append(f"<g><title>{escape(stack.title)}</title>{drawn}</g>")
        y = _short(zero - people - machines - 7)
        parts.append(f'<text x="{middle}" y="{y}" text-anchor="middle">{escape(stack.share)}</text>')
        parts.append(f'<text x="{middle}" y="{zero + 18}" text-anchor="middle">{escape(stack.label)}</text>')
    return "".join([*parts, "</svg>"])


def _open(title: str, name: str, height: int) -> str:
    return (
        f'<svg class="chart" width="100%" height="{height}" role="img" aria-labelledby="{name}-title">'
        f'<title id="{name}-title">{escape(title)}</title>'
    )


def _rectangle(kind: str, x: str, width: str, bottom: float, height: float) -> str:
    height = max(height, 1)
    size = f'y="{_short(bottom - height)}" width="{width}" height="{_short(height)}"'
    return f'<rect class="{kind}" x="{x}" {size} rx="1.5"/>'


def _draw_tick(x: str, zero: int, text: str) -> str:
    line = f'<line class="tick" x1="{x}" x2="{x}" y1="{zero}" y2="{zero + 5}"/>'
    return f'{line}<text x="{x}" dx="1" y="{zero + 20}">{escape(text)}</text>'


def _draw_name(rank: int, x: float, y: float, text: str) -> str:
    third = "left" if x < 33 else "right" if x > 67 else "middle"  # decides the anchor on a narrow page
    place = f'x="{_percent(x)}" y="{_short(y)}" text-anchor="{_anchor(x, text)}"'
    return f'<text class="name n{rank} {third}" {place}>{escape(text)}</text>'


def _anchor(x: float, text: str) -> str:
    """Return the anchor of a label at `x` percent: its middle, unless it would leave the chart."""
    half = 50 * LETTER * len(text) / WIDTH
    return "start" if x < half else "end" if x > 100 - half else "middle"


def _percent(value: float) -> str:
    return f"{_short(value)}%"


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
