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
    "Cost relative to HAProxy in one run (in brackets: itself), shorter is better. "
    "Striped: without compiled modules. Pointed: cut off."
)
_ON_FAULTS = "† Requests failed in a round, or the load could not keep up."
_WIDTH = 900
_LEFT = 24
_COLUMN = 436
"""From the left end of a column of cases to that of the next."""

_ZERO = 110
"""From the left end of a column to that of its bars."""

_UNIT = 52
"""The length of a bar of HAProxy's cost."""

_LONGEST = 3.75
"""The ratio at which bars are cut off, and get a point."""

_BAR = 13
_PITCH = 18
_CASE_HEAD = 22
_CASE_GAP = 14
_WORDS = 120
"""Characters in a line of small text."""

_STYLE = """
.ground{fill:#fff} text{font-family:system-ui,sans-serif;fill:#1f2328}
.head{font-size:20px;font-weight:600} .case{font-size:14px;font-weight:600}
.name,.figure{font-size:12px} text.ours{font-weight:600}
.figure{stroke:#fff;stroke-width:3px;paint-order:stroke}
.small{font-size:11.5px} .small,.unit{fill:#59636e} .unit{font-weight:400;font-size:12px}
.bar{fill:#818b98} .bar.ours,.stripe{fill:#0969da} .bar.pure{fill:url(#alacrity-stripes)}
.one{stroke:#59636e;stroke-dasharray:3 3}
@media (prefers-color-scheme: dark){
.ground{fill:#0d1117} text{fill:#e6edf3} .small,.unit{fill:#9198a1}
.bar{fill:#6e7681} .bar.ours,.stripe{fill:#4493f8} .bar.pure{fill:url(#alacrity-stripes)}
.figure{stroke:#0d1117} .one{stroke:#9198a1}
}
"""


class Bar(NamedTuple):
    """
    A bar.

    @ivar proxy: the proxy's name on the command line.
    @ivar title: its name for readers.
    @ivar ratio: to HAProxy's cost; L{None}: there is none to compare with.
    @ivar cost: the cost itself, as text; empty: it was not measured.
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
        figures = f"{compared} ({self.cost})" if self.cost else "not measured"
        return figures + (" †" if self.faulty else "")


class Group(NamedTuple):
    """
    The bars of one case.

    @ivar title: the case's.
    @ivar unit: of the costs.
    """

    title: str
    unit: str
    bars: tuple[Bar, ...]

    @property
    def height(self) -> int:
        """
        The height that it takes, with the gap to the next.
        """
        return _CASE_HEAD + _PITCH * len(self.bars) + _CASE_GAP


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
            text = "" if value is None else format(value, form)
            faulty = any(each.fault for each in rounds)
            bars.append(Bar(proxy, name, ratio(rounds, reference, cost), text, faulty))
        if any(bar.cost for bar in bars):
            found.append(Group(title, unit, tuple(bars)))
    if not any(bar.ratio is not None for group in found for bar in group.bars):
        raise Broken(f"nothing was measured of {REFERENCE}, to which the bars compare all others")
    return found


def halves(cases: Sequence[Group]) -> tuple[Sequence[Group], Sequence[Group]]:
    """
    The cases as two columns, one after another, of which the taller is as low as it can be.
    """

    def taller(count: int) -> int:
        parts = cases[:count], cases[count:]
        return max(sum(case.height for case in part) for part in parts)

    count = min(range(1, len(cases) + 1), key=taller)
    return cases[:count], cases[count:]


def draw(runs: Runs) -> str:
    """
    The picture.

    @return: the text of the SVG.
    @raise Broken: there is nothing to draw, or to compare with.
    """
    cases = groups(runs)
    small = [_EXPLANATION, *_lines(runs.machine, runs.proxies)]
    if any(bar.faulty for case in cases for bar in case.bars):
        small.append(_ON_FAULTS)
    top = 56 + 17 * len(small)
    columns = halves(cases)
    height = top + max(sum(case.height for case in column) for column in columns) + 4
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
    for number, line in enumerate(small):
        _text(svg, _LEFT, 56 + 17 * number, "small", line)
    for number, column in enumerate(columns):
        at = top
        for case in column:
            _group(svg, case, _LEFT + _COLUMN * number, at)
            at += case.height
    indent(svg)
    return tostring(svg, encoding="unicode") + "\n"


def _lines(machine: Mapping[str, str], proxies: Mapping[str, str]) -> Iterator[str]:
    """
    The machine, the date and the versions, in lines that fit.
    """
    of_the_machine = [value for name, value in machine.items() if name not in proxies]
    versions = [f"{proxies[name]} {machine[name]}" for name in proxies if name in machine]
    yield from wrap(" · ".join(of_the_machine), _WORDS, break_on_hyphens=False)
    yield from wrap(" · ".join(versions), _WORDS, break_on_hyphens=False)


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


def _group(svg: Element, case: Group, left: int, top: int) -> None:
    """
    Draw the bars of a case.
    """
    title = _text(svg, left, top + 14, "case", case.title + " ")
    _add(title, "tspan", {"class": "unit"}, text=case.unit)
    first = top + _CASE_HEAD
    one = str(left + _ZERO + _UNIT)
    ends = {"y1": str(first - 3), "y2": str(first + _PITCH * len(case.bars) - 2)}
    # Below the bars and their figures.
    _add(svg, "line", {"class": "one", "x1": one, "x2": one, **ends})
    for number, bar in enumerate(case.bars):
        _bar(svg, bar, left, first + _PITCH * number)


def _bar(svg: Element, bar: Bar, left: int, top: int) -> None:
    ours = " ours" if bar.proxy.startswith("alacrity") else ""
    pure = " pure" if bar.proxy == "alacrity-pure" else ""
    _text(svg, left, top + 11, "name" + ours, bar.title)
    begin = left + _ZERO
    end = float(begin)
    if bar.ratio is not None:
        end += _UNIT * min(bar.ratio, _LONGEST)
        points: list[tuple[float, float]]
        points = [(begin, top), (end, top), (end, top + _BAR), (begin, top + _BAR)]
        if bar.ratio > _LONGEST:
            points.insert(2, (end + 9, top + _BAR / 2))
            end += 9
        shape = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        _add(svg, "polygon", {"class": "bar" + ours + pure, "points": shape})
    _text(svg, round(end) + 5, top + 11, "figure" + ours, bar.figures)


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
