"""
The table of a comparison as a picture: C{python -m benchmarks.picture FILE.json OUT.svg}.

Draws one bar for each case and proxy: the ratio of its cost to HAProxy's, with the
figures as text. The SVG needs nothing else, has a light and a dark form, and is the same
each time for the same document.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from acceptance.lab.processes import exit_with
from acceptance.lab.waiting import Broken
from benchmarks.runs import Runs, read
from benchmarks.table import COLUMNS, middle, ratio

REFERENCE = "haproxy"

_HEADING = "Alacrity beside its peers"
_EXPLANATION = (
    "Cost relative to HAProxy in one run, shorter is better. Striped: without compiled modules."
)
_WIDTH = 860
_LEFT = 24
_ZERO = 170
"""The left end of all bars."""

_UNIT = 130
"""The length of a bar of HAProxy's cost."""

_LONGEST = 4.0
"""The ratio at which bars are cut off, and get a point."""

_BAR = 13
_PITCH = 18
_CASE_GAP = 36
_WORDS = 118
"""Characters in a line of small text."""

_STYLE = """
.ground{fill:#fff} text{font-family:system-ui,sans-serif;fill:#1f2328}
.head{font-size:20px;font-weight:600} .case{font-size:14px;font-weight:600}
.name,.figure{font-size:12px} .ours{font-weight:600}
.small{font-size:11.5px} .small,.unit{fill:#59636e} .unit{font-weight:400;font-size:12px}
.bar{fill:#818b98} .bar.ours,.stripe{fill:#0969da} .bar.pure{fill:url(#alacrity-stripes)}
.one{stroke:#59636e;stroke-dasharray:3 3}
@media (prefers-color-scheme: dark){
.ground{fill:#0d1117} text{fill:#e6edf3} .small,.unit{fill:#9198a1}
.bar{fill:#6e7681} .bar.ours,.stripe{fill:#4493f8} .bar.pure{fill:url(#alacrity-stripes)}
.one{stroke:#9198a1}
}
"""


class Bar(NamedTuple):
    """
    A bar.

    @ivar proxy: the proxy's name on the command line.
    @ivar title: its name for readers.
    @ivar ratio: to HAProxy's cost; L{None}: there is none to compare with.
    @ivar cost: the cost itself, as text.
    @ivar faulty: something went wrong in a round.
    """

    proxy: str
    title: str
    ratio: float | None
    cost: str
    faulty: bool

    @property
    def figures(self) -> str:
        """
        The figures in words.
        """
        compared = "no ratio" if self.ratio is None else f"{self.ratio:.2f}x"
        return f"{compared} ({self.cost})" + (", with faults" if self.faulty else "")


class Group(NamedTuple):
    """
    The bars of one case.

    @ivar title: the case's.
    @ivar unit: of the costs.
    """

    title: str
    unit: str
    bars: tuple[Bar, ...]


def groups(runs: Runs) -> list[Group]:
    """
    The bars of all cases that were measured.

    @raise Broken: there is nothing to draw, or to compare with.
    """
    results = runs.results()
    found = []
    for case, (title, cost) in runs.cases.items():
        unit, form = COLUMNS.get(cost, (cost, ".2f"))
        reference = results.get((case, REFERENCE), [])
        bars = []
        for proxy, name in runs.proxies.items():
            rounds = results.get((case, proxy), [])
            value = middle(rounds, cost)
            if value is not None:
                faulty = any(each.fault for each in rounds)
                compared = ratio(rounds, reference, cost)
                bars.append(Bar(proxy, name, compared, format(value, form), faulty))
        if bars:
            found.append(Group(title, unit, tuple(bars)))
    if not any(bar.ratio is not None for group in found for bar in group.bars):
        raise Broken(f"nothing was measured of {REFERENCE}, to which the bars compare all others")
    return found


def draw(runs: Runs) -> str:
    """
    The picture.

    @return: the text of the SVG.
    @raise Broken: there is nothing to draw, or to compare with.
    """
    cases = groups(runs)
    below = list(_lines(runs.machine, runs.proxies))
    top = 52 + 17 * len(below) + 24
    height = top + sum(_CASE_GAP + _PITCH * len(each.bars) for each in cases) + 16
    svg = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {_WIDTH} {height}",
            "width": str(_WIDTH),
            "height": str(height),
            "role": "img",
            "aria-labelledby": "alacrity-title alacrity-desc",
        },
    )
    _add(svg, "title", id="alacrity-title", text=f"{_HEADING}: {_EXPLANATION}")
    _add(svg, "desc", id="alacrity-desc", text=" ".join(_sentences(runs.machine, cases)))
    _add(svg, "style", text=_STYLE)
    _stripes(svg)
    _add(svg, "rect", {"class": "ground", "width": "100%", "height": "100%"})
    _text(svg, _LEFT, 34, "head", _HEADING)
    for number, line in enumerate([_EXPLANATION, *below]):
        _text(svg, _LEFT, 56 + 17 * number, "small", line)
    for case in cases:
        top = _group(svg, case, top)
    indent(svg)
    return tostring(svg, encoding="unicode") + "\n"


def _lines(machine: Mapping[str, str], proxies: Mapping[str, str]) -> Iterator[str]:
    """
    The machine, the date and the versions, in lines that fit.
    """
    of_the_machine = [value for name, value in machine.items() if name not in proxies]
    versions = [f"{proxies[name]} {machine[name]}" for name in proxies if name in machine]
    yield from wrap(" · ".join(of_the_machine), _WORDS)
    yield from wrap(" · ".join(versions), _WORDS)


def _sentences(machine: Mapping[str, str], cases: Sequence[Group]) -> Iterator[str]:
    """
    All figures, for those who do not see the picture.
    """
    yield "; ".join(f"{name}: {value}" for name, value in machine.items()) + "."
    for case in cases:
        figures = ", ".join(f"{bar.title} {bar.figures}" for bar in case.bars)
        yield f"{case.title}, {case.unit}: {figures}."


def _stripes(svg: Element) -> None:
    """
    The stripes of bars without compiled modules.
    """
    pattern = _add(
        _add(svg, "defs"),
        "pattern",
        {"width": "6", "height": "6", "patternUnits": "userSpaceOnUse"},
        id="alacrity-stripes",
    )
    pattern.set("patternTransform", "rotate(45)")
    _add(pattern, "rect", {"class": "stripe", "width": "3.5", "height": "6"})


def _group(svg: Element, case: Group, top: int) -> int:
    """
    Draw the bars of a case.

    @return: where the next one begins.
    """
    title = _text(svg, _LEFT, top + 14, "case", case.title + " ")
    _add(title, "tspan", {"class": "unit"}, text=case.unit)
    top += 22
    bottom = top + _PITCH * len(case.bars)
    for number, bar in enumerate(case.bars):
        _bar(svg, bar, top + _PITCH * number)
    one = str(_ZERO + _UNIT)
    _add(
        svg,
        "line",
        {"class": "one", "x1": one, "x2": one, "y1": str(top - 3), "y2": str(bottom - 2)},
    )
    return bottom + _CASE_GAP - 22


def _bar(svg: Element, bar: Bar, top: int) -> None:
    ours = " ours" if bar.proxy.startswith("alacrity") else ""
    pure = " pure" if bar.proxy == "alacrity-pure" else ""
    _text(svg, _LEFT, top + 11, "name" + ours, bar.title)
    end = float(_ZERO)
    if bar.ratio is not None:
        end += _UNIT * min(bar.ratio, _LONGEST)
        points: list[tuple[float, float]] = [
            (_ZERO, top),
            (end, top),
            (end, top + _BAR),
            (_ZERO, top + _BAR),
        ]
        if bar.ratio > _LONGEST:
            points.insert(2, (end + 9, top + _BAR / 2))
            end += 9
        shape = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        _add(svg, "polygon", {"class": "bar" + ours + pure, "points": shape})
    _text(svg, round(end) + 6, top + 11, "figure" + ours, bar.figures)


def _text(svg: Element, x: int, y: int, kind: str, text: str) -> Element:
    return _add(svg, "text", {"class": kind, "x": str(x), "y": str(y)}, text=text)


def _add(
    parent: Element,
    name: str,
    attributes: Mapping[str, str] | None = None,
    *,
    text: str = "",
    id: str = "",
) -> Element:
    element = SubElement(parent, name, {**(attributes or {}), **({"id": id} if id else {})})
    if text:
        # XML allows no control characters, in whatever way they are written.
        element.text = re.sub(r"[^\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)
    return element


def main() -> int:
    """
    Read the command line, draw, and return the exit status.
    """
    parser = argparse.ArgumentParser(description="The table of a comparison as a picture.")
    parser.add_argument("document", type=Path, metavar="FILE.json", help="from compare --json")
    parser.add_argument("picture", type=Path, metavar="OUT.svg", help="is written anew")
    options = parser.parse_args()
    options.picture.write_text(draw(read(options.document)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    exit_with(main)
