"""
Run the simulation::

    python -m tests.simulation                               # 300 seeds over all scenarios
    python -m tests.simulation --seeds 0-9999 --processes 4
    python -m tests.simulation --seed 17 --scenario members --trace
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.clock import patched
from tests.simulation.run import Outcome, play
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.variants import VARIANTS


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201


def _work(job: tuple[int, str, str]) -> Outcome:
    seed, scenario, variant = job
    with patched():
        outcome = play(seed, scenario, **VARIANTS[variant])
    if not outcome.violations:
        outcome.trace = []
    return outcome


def _jobs(options: argparse.Namespace) -> Iterator[tuple[int, str, str]]:
    first, _, last = options.seeds.partition("-")
    names = [options.scenario] if options.scenario else list(SCENARIOS)
    for seed in range(int(first), int(last or first) + 1):
        yield seed, names[seed % len(names)], options.variant


def main() -> int:
    """
    The command.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay one")
    parser.add_argument("--seeds", default="0-299", help="from and to (default: 0-299)")
    parser.add_argument("--scenario", choices=SCENARIOS, help="(default: all in turn)")
    parser.add_argument("--variant", choices=VARIANTS, default="guarded", help="which engine")
    parser.add_argument("--trace", action="store_true", help="print all that happens")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if options.seed is not None:
        names = list(SCENARIOS)
        name = options.scenario or names[options.seed % len(names)]
        with patched():
            outcome = play(options.seed, name, **VARIANTS[options.variant], verbose=options.trace)
        if not options.trace and outcome.violations:
            _say(*outcome.trace[-60:])
        _say(f"seed {options.seed}, {name}: {outcome.violations or 'no violation'}")
        return 1 if outcome.violations else 0
    start = time.monotonic()
    failed: list[Outcome] = []
    counts: Counter[str] = Counter()
    acknowledged = 0
    virtual = 0.0
    with ProcessPoolExecutor(options.processes) as pool:
        for outcome in pool.map(_work, _jobs(options), chunksize=4):
            counts[outcome.scenario] += 1
            acknowledged += outcome.acknowledged
            virtual += outcome.virtual
            if outcome.violations:
                failed.append(outcome)
                _say(f"seed {outcome.seed}, {outcome.scenario}: {outcome.violations[0]}")
    took = time.monotonic() - start
    _say(
        f"{sum(counts.values())} seeds, {len(failed)} with violations, {acknowledged} acknowledged "
        f"writes, {virtual:.0f} virtual seconds in {took:.1f} s"
    )
    for outcome in failed[:1]:
        _say(*outcome.trace[-80:])
        _say(
            f"replay: python -m tests.simulation --seed {outcome.seed} "
            f"--scenario {outcome.scenario} --variant {options.variant} --trace"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
