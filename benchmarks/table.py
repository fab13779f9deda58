"""
The results of the comparison as a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.wrk import Result

REFERENCES = ("haproxy", "nginx", "caddy")
"""The proxies to which the costs of all are compared."""

COLUMNS = {
    "cpu_us": ("CPU us/request", ".1f"),
    "rps": ("requests/s", ".0f"),
    "p50_ms": ("p50 ms", ".2f"),
    "p99_ms": ("p99 ms", ".2f"),
    "p999_ms": ("p99.9 ms", ".2f"),
    "late_ms": ("late ms", ".2f"),
    "mb_s": ("MB/s", ".0f"),
    "cpu_s_gb": ("CPU s/GB", ".2f"),
    "kib": ("KiB/connection", ".1f"),
    "core": ("core %", ".0f"),
}
"""The columns, by the name of the value: head and format."""

_TEXTS = ("case", "proxy", "faults")
"""The heads of columns that are no numbers."""

Results = dict[tuple[str, str], list[Result]]
"""The results by case and proxy, one a round."""


def middle(rounds: Sequence[Result], name: str) -> float | None:
    """
    The median of a value; L{None} where no round has it.
    """
    values = _values(rounds, name)
    return median(values) if values else None


def ratio(rounds: Sequence[Result], reference: Sequence[Result], cost: str) -> float | None:
    """
    The median of a cost, divided by that of a reference.

    @return: L{None} where one of them was not measured.
    """
    ours, theirs = middle(rounds, cost), middle(reference, cost)
    return None if ours is None or theirs is None or theirs <= 0 else ours / theirs


def table(
    results: Results,
    cases: Mapping[str, tuple[str, str]],
    proxies: Mapping[str, str],
) -> str:
    """
    The medians, in Markdown.

    @param cases: title and cost of each, in the order of the table.
    @param proxies: title of each, likewise.
    """
    heads = [head for head, _ in COLUMNS.values()]
    rows = [["case", "proxy", *heads, "spread %", *(f"x {name}" for name in REFERENCES), "faults"]]
    for case, (title, cost) in cases.items():
        for proxy, name in proxies.items():
            rounds = results.get((case, proxy))
            if rounds:
                rows.append(
                    [
                        title,
                        name,
                        *(_cell(middle(rounds, key), form) for key, (_, form) in COLUMNS.items()),
                        _spread(_values(rounds, cost)),
                        *(
                            _cell(ratio(rounds, results.get((case, each), []), cost), ".2f")
                            for each in REFERENCES
                        ),
                        "; ".join(dict.fromkeys(each.fault for each in rounds if each.fault)),
                    ]
                )
    return _markdown(_used(rows))


def _used(rows: list[list[str]]) -> list[list[str]]:
    """
    Leave out the columns without a value. But show the last: there were no faults.
    """
    used = [index for index in range(len(rows[0])) if any(row[index] for row in rows[1:])]
    if len(rows[0]) - 1 not in used:
        used.append(len(rows[0]) - 1)
    return [[row[index] for index in used] for row in rows]


def _markdown(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    marks = [
        "-" * width if head in _TEXTS else "-" * (width - 1) + ":"
        for head, width in zip(rows[0], widths, strict=True)
    ]
    return "\n".join(
        "| "
        + " | ".join(
            cell.rjust(width) if mark.endswith(":") else cell.ljust(width)
            for cell, width, mark in zip(row, widths, marks, strict=True)
        )
        + " |"
        for row in (rows[0], marks, *rows[1:])
    )


def _values(rounds: Sequence[Result], name: str) -> list[float]:
    return [each.values[name] for each in rounds if name in each.values]


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _spread(costs: Sequence[float]) -> str:
    """
    The distance between the rounds, in percent of the median.
    """
    if len(costs) < 2 or median(costs) <= 0:
        return ""
    return format(100 * (max(costs) - min(costs)) / median(costs), ".0f")
