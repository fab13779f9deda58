"""
What clients saw of a failure: their requests, one by one, and the figures made of them.

All times are seconds of the monotonic clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from acceptance.lab.origins import Line

POST: Final = "POST"

HARM: Final = 0.5
"""Seconds beyond its usual time from which a request has waited."""


class Outcome(NamedTuple):
    """
    A request and its end.

    @ivar begun: when the client meant to send it.
    @ivar took: seconds until its end.
    @ivar fault: a status, or a description of how no answer came; empty: it was answered 200.
    @ivar origin: the port of the server that answered; 0: unknown.
    """

    begun: float
    took: float
    method: str
    fault: str
    origin: int


class Figures(NamedTuple):
    """
    The figures of a scenario, of the requests that ended after the fault.

    @ivar requests: number of them.
    @ivar failed: the idempotent ones among them that failed.
    @ivar posts: the POSTs that failed.
    @ivar longest: the longest that one took.
    @ivar median: that the unharmed took; NaN: there is none.
    @ivar clean: seconds from the fault to the beginning of the last harmed request.
    @ivar late: those that were harmed though they began after the time that the proxy had to
        notice.
    @ivar late_failed: those of them that failed.
    @ivar faults: number of each kind of failure, in words.
    """

    requests: int
    failed: int
    posts: int
    longest: float
    median: float
    clean: float
    late: int
    late_failed: int
    faults: str


def figures(
    outcomes: Iterable[Outcome], fault: float, *, usual: float, notice: float = math.inf
) -> Figures:
    """
    Sum up a scenario.

    @param fault: the moment at which a server failed.
    @param usual: the seconds that a request takes otherwise.
    @param notice: seconds that the proxy has to notice.
    """
    after = [each for each in outcomes if each.begun + each.took >= fault]
    harmed = [each for each in after if is_harmed(each, usual)]
    failures = [each for each in after if each.fault]
    kinds = sorted({each.fault for each in failures})
    return Figures(
        requests=len(after),
        failed=sum(each.method != POST for each in failures),
        posts=sum(each.method == POST for each in failures),
        longest=max((each.took for each in after), default=math.nan),
        median=median(each.took for each in after if not is_harmed(each, usual)),
        clean=max((0.0, *(each.begun - fault for each in harmed))),
        late=sum(each.begun > fault + notice for each in harmed),
        late_failed=sum(each.begun > fault + notice for each in failures),
        faults=", ".join(f"{sum(x.fault == kind for x in failures)} x {kind}" for kind in kinds),
    )


def write_outcomes(path: Path, outcomes: Iterable[Outcome], fault: float) -> None:
    """
    Write a line for each request: when it began after the fault, how long it took, its method,
    its server, its failure.
    """
    path.write_text(
        "".join(
            f"{each.begun - fault:.3f} {each.took:.3f} {each.method} {each.origin} {each.fault}\n"
            for each in sorted(outcomes)
        )
    )


def is_harmed(outcome: Outcome, usual: float) -> bool:
    """
    True if a request failed, or waited.
    """
    return bool(outcome.fault) or outcome.took > usual + HARM


def median(values: Iterable[float]) -> float:
    """
    The median; NaN if there is no value.
    """
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else math.nan


def sent_twice(journal: Iterable[Line]) -> int:
    """
    The number of POSTs that servers got more than once.
    """
    seen: set[str] = set()
    twice: set[str] = set()
    for line in journal:
        if line.method == POST:
            (twice if line.path in seen else seen).add(line.path)
    return len(twice)


def tries_after(tries: Sequence[tuple[float, int]], begin: float, end: float) -> int:
    """
    How much a counter rose in a span of time, counted from its first rise.

    @param tries: the counter's values, each with the time at which it was read.
    @param begin: seconds after the first rise, likewise C{end}.
    """
    if not tries:
        return 0
    first = next((moment for moment, value in tries if value > tries[0][1]), None)
    if first is None:
        return 0
    within = [value for moment, value in tries if first + begin <= moment <= first + end]
    return within[-1] - within[0] if within else 0


class Bar(NamedTuple):
    """
    A figure that may not exceed a bound.
    """

    what: str
    value: float
    most: float

    @property
    def met(self) -> bool:
        """
        True if it does not; NaN never does.
        """
        return self.value <= self.most

    def __str__(self) -> str:
        # Rounded so, no figure above its bound looks as if it were not.
        return f"{self.what}: {self.value:.3g} of at most {self.most:.3g}"


class Row(NamedTuple):
    """
    A scenario with one proxy.

    @ivar figures: L{None}: it could not be played.
    @ivar ratio: requests to servers for each of a client; NaN: not known.
    @ivar bars: which decide whether it passed.
    @ivar note: why it could not be played, in a line or more.
    """

    scenario: str
    proxy: str
    figures: Figures | None
    ratio: float
    bars: tuple[Bar, ...]
    note: str = ""

    @property
    def verdict(self) -> str:
        """
        Whether all bars are met.
        """
        if self.figures is None:
            return f"not played: {self.note.splitlines()[0]}" if self.note else "not played"
        missed = [str(bar) for bar in self.bars if not bar.met]
        return f"MISSED: {'; '.join(missed)}" if missed else "met"

    @property
    def met(self) -> bool:
        """
        True if it was played and all bars are met.
        """
        return self.figures is not None and all(bar.met for bar in self.bars)


_NONE: Final = "-"

_HEAD: Final = (
    "scenario",
    "proxy",
    "requests",
    "failed, idempotent",
    "failed, POST",
    "longest wait s",
    "p50 ms unharmed",
    "clean after s",
    "requests to servers each",
    "bars",
)


def table(rows: Iterable[Row]) -> str:
    """
    The rows as a table of Markdown.
    """
    lines = [_HEAD, ("---", "---", *["--:"] * 7, "---"), *map(_cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    figures = row.figures
    if figures is None:
        return (row.scenario, row.proxy, *[_NONE] * 7, row.verdict)
    return (
        row.scenario,
        row.proxy,
        str(figures.requests),
        str(figures.failed),
        str(figures.posts),
        f"{figures.longest:.2f}",
        _number(1000 * figures.median, 1),
        f"{figures.clean:.1f}",
        _number(row.ratio, 2),
        row.verdict,
    )


def _number(value: float, digits: int) -> str:
    return _NONE if math.isnan(value) else f"{value:.{digits}f}"
