"""
L{benchmarks.picture}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.waiting import Broken
from benchmarks.picture import Bar, Group, draw, groups, halves
from benchmarks.runs import Run, Runs, read, write
from tests.benchmarks.examples import runs

SVG = "{http://www.w3.org/2000/svg}"

OURS = Run("browser", "alacrity", {"cpu_us": 25.0})
PACED = Run("open", "alacrity", {"cpu_us": 25.0, "p99_ms": 0.8})


def parsed(document: Runs) -> ET.Element:
    """
    The picture, as a reader of XML sees it.
    """
    return ET.fromstring(draw(document))  # noqa: S314 - it is our own


def texts(svg: ET.Element, kind: str = "") -> list[str]:
    """
    The texts of a class, or all.
    """
    return [
        "".join(each.itertext()).strip()
        for each in svg.iter(f"{SVG}text")
        if kind in each.get("class", "").split() or not kind
    ]


def corners(svg: ET.Element) -> Iterator[list[tuple[float, float]]]:
    """
    The corners of each bar.
    """
    for bar in svg.iter(f"{SVG}polygon"):
        yield [(float(x), float(y)) for x, y in re.findall(r"(\S+),(\S+)", bar.get("points", ""))]


class FigureTests(SynchronousTestCase):
    """
    The figures are those of the document.
    """

    def test_median_of_the_rounds(self) -> None:
        svg = parsed(runs(OURS, PACED))
        self.assertEqual(
            texts(svg, "figure"),
            [
                *("1.25x (25.0)", "not measured", "1.00x (20.0)"),
                *("1.60x (0.80)", "not measured", "1.00x (0.50)"),
            ],
        )

    def test_cases_and_proxies_have_their_names(self) -> None:
        svg = parsed(runs(OURS))
        cases = ["ten browser headers CPU us/request", "open loop p99 ms"]
        self.assertEqual(
            [" ".join(each.split()) for each in texts(svg, "case")],
            cases,
        )
        self.assertEqual(texts(svg, "name"), ["alacrity", "alacrity (pure)", "haproxy"] * 2)

    def test_machine_date_and_versions(self) -> None:
        said = " ".join(texts(parsed(runs(OURS)), "small"))
        self.assertIn("2026-11-27 · 2 cores", said)
        self.assertIn("alacrity 1.0 · haproxy 2.6.12", said)

    def test_all_figures_are_described(self) -> None:
        svg = parsed(runs(OURS, PACED))
        title, description = svg.find(f"{SVG}title"), svg.find(f"{SVG}desc")
        assert title is not None
        assert description is not None
        self.assertEqual(svg.get("role"), "img")
        self.assertEqual(svg.get("aria-labelledby"), f"{title.get('id')} {description.get('id')}")
        said = description.text or ""
        for figure in ("alacrity 1.25x (25.0)", "haproxy 1.00x (20.0)", "alacrity 1.60x (0.80)"):
            self.assertIn(figure, said)

    def test_faults_are_marked(self) -> None:
        svg = parsed(runs(Run("browser", "alacrity", {"cpu_us": 25.0}, "3 non-2xx")))
        self.assertIn("1.25x (25.0) †", texts(svg, "figure"))
        self.assertIn("† Requests failed", " ".join(texts(svg, "small")))
        self.assertNotIn("†", draw(runs(OURS)))

    def test_only_a_fault(self) -> None:
        svg = parsed(runs(Run("browser", "alacrity", {}, "it does not start")))
        self.assertIn("not measured †", texts(svg, "figure"))

    def test_no_reference_in_a_case(self) -> None:
        document = runs(OURS, PACED)
        kept = [each for each in document.runs if (each.case, each.proxy) != ("open", "haproxy")]
        svg = parsed(msgspec.structs.replace(document, runs=kept))
        self.assertIn("no ratio (0.80)", texts(svg, "figure"))

    def test_nothing_to_compare_with(self) -> None:
        document = msgspec.structs.replace(runs(), runs=[OURS, PACED])
        error = self.assertRaises(Broken, draw, document)
        self.assertIn("nothing was measured of haproxy", str(error))


class BarTests(SynchronousTestCase):
    """
    The bars have the lengths of the ratios.
    """

    def test_lengths(self) -> None:
        (ours, reference, _) = corners(parsed(runs(OURS)))
        length = max(x for x, _ in ours) - ours[0][0]
        self.assertAlmostEqual(length, 1.25 * (max(x for x, _ in reference) - reference[0][0]), 0)

    def test_long_ones_are_cut_off_and_have_a_point(self) -> None:
        for cost in (200.0, 200000.0):
            (ours, *_) = corners(parsed(runs(Run("browser", "alacrity", {"cpu_us": cost}))))
            self.assertEqual(len(ours), 5)
            self.assertLess(max(x for x, _ in ours), 436)

    def test_builds_differ_in_more_than_colour(self) -> None:
        pure = Run("browser", "alacrity-pure", {"cpu_us": 30.0})
        svg = parsed(runs(OURS, pure))
        kinds = [each.get("class") for each in svg.iter(f"{SVG}polygon")]
        self.assertEqual(kinds, ["bar ours", "bar ours pure", "bar", "bar"])

    def test_columns_are_as_even_as_they_can_be(self) -> None:
        bar = Bar("haproxy", "haproxy", 1.0, "1", False)
        cases = [Group(str(n), "us", (bar,) * size) for n, size in enumerate((3, 3, 3, 1, 1))]
        left, right = halves(cases)
        self.assertEqual([each.title for each in left], ["0", "1"])
        self.assertEqual([each.title for each in right], ["2", "3", "4"])
        self.assertEqual(halves(cases[:1]), (cases[:1], []))


class TextTests(SynchronousTestCase):
    """
    The SVG is valid, stands alone and is the same each time.
    """

    def test_names_are_escaped(self) -> None:
        odd = 'a <b> & "c" \x00\x1b'
        document = runs(OURS)
        document = Runs(
            {**document.machine, "processor": odd},
            {"browser": (odd, "cpu_us")},
            {**document.proxies, "alacrity": odd},
            document.runs,
        )
        svg = parsed(document)
        shown = 'a <b> & "c" ??'
        self.assertIn(shown, texts(svg, "name"))
        self.assertIn(f"{shown} ", [each[: len(shown) + 1] for each in texts(svg, "case")])
        self.assertIn(shown, " ".join(texts(svg, "small")))

    def test_light_and_dark(self) -> None:
        style = parsed(runs(OURS)).find(f"{SVG}style")
        assert style is not None
        self.assertIn("@media (prefers-color-scheme: dark)", style.text or "")

    def test_nothing_from_elsewhere(self) -> None:
        drawn = draw(runs(OURS)).replace("http://www.w3.org/2000/svg", "", 1)
        self.assertIsNone(re.search(r"https?:|href|@import|<script|<image", drawn))

    def test_the_same_each_time(self) -> None:
        document = runs(OURS, PACED)
        again = msgspec.json.decode(msgspec.json.encode(document), type=Runs)
        self.assertEqual(draw(document), draw(again))


class DocumentTests(SynchronousTestCase):
    """
    The document is read as it was written.
    """

    def test_round_trip(self) -> None:
        path = Path(self.mktemp())
        write(runs(OURS), path)
        self.assertEqual(read(path), runs(OURS))

    def test_other_documents(self) -> None:
        path = Path(self.mktemp())
        for content in (b"", b"[]", b'{"machine": {}, "runs": []}', b"\xff"):
            path.write_bytes(content)
            error = self.assertRaises(Broken, read, path)
            self.assertIn(f"{path} is not a document that", str(error))

    def test_a_case_without_results_is_left_out(self) -> None:
        document = msgspec.structs.replace(
            runs(), cases={"idle": ("idle connections", "kib"), **runs().cases}
        )
        self.assertEqual(
            [each.title for each in groups(document)], ["ten browser headers", "open loop"]
        )
