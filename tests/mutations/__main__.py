"""
Run the mutants::

    python -m tests.mutations                             # all, by seeds and by tests
    python -m tests.mutations vote-forgotten figure-8     # some of them
    python -m tests.mutations --sample                    # the eight that tox runs
    python -m tests.mutations --known                     # each by the seed it is known to fail

Each must be found by the simulation or by a unit test, unless the catalogue says why it
cannot be.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec

from tests.mutations import patching
from tests.mutations.catalogue import CATALOGUE, SAMPLE
from tests.mutations.patching import Mutant


class Result(msgspec.Struct):
    """
    The result of a mutant.

    @ivar by_seed: what the simulation said; L{None}: it found nothing.
    @ivar by_test: which test failed; L{None}: none did, or was asked.
    """

    mutant: Mutant
    by_seed: str | None
    by_test: str | None
    seconds: float

    @property
    def killed(self) -> bool:
        return bool(self.by_seed or self.by_test)


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201


def _ask(name: str, *how: str) -> str | None:
    command = [sys.executable, "-m", "tests.mutations.one", name, *how]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    last = (done.stdout.splitlines() or [""])[-1]
    if last == "survived":
        return None
    if last.startswith("killed: "):
        return last.removeprefix("killed: ")
    # It could not even be asked: the fault breaks the import, or the process.
    error = (done.stderr.strip().splitlines() or ["no word"])[-1]
    return f"the process ended with {done.returncode}: {error}"


def _run(mutant: Mutant, options: argparse.Namespace) -> Result:
    start = time.monotonic()
    by_seed = by_test = None
    if mutant.seed >= 0 and not options.anew:
        by_seed = _ask(mutant.name, "seeds", str(mutant.seed), mutant.scenario)
    if by_seed is None and not (options.known and mutant.seed >= 0):
        by_seed = None if options.known else _ask(mutant.name, "seeds", options.seeds)
        if by_seed is None or options.tests:
            by_test = _ask(mutant.name, "tests")
    elif options.tests:
        by_test = _ask(mutant.name, "tests")
    return Result(mutant, by_seed, by_test, time.monotonic() - start)


def main() -> int:
    """
    The command.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="(default: all)")
    parser.add_argument("--sample", action="store_true", help="eight of them")
    parser.add_argument("--area", help="those of one area")
    parser.add_argument("--seeds", default="0-299", help="from and to (default: 0-299)")
    parser.add_argument("--known", action="store_true", help="the known seed or the tests alone")
    parser.add_argument("--anew", action="store_true", help="forget which seeds are known")
    parser.add_argument("--tests", action="store_true", help="the tests too, where a seed finds it")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    unknown = set(options.names) - set(CATALOGUE)
    if unknown:
        parser.error(f"there is no mutant {min(unknown)}; see tests/mutations/catalogue.py")
    chosen = [
        CATALOGUE[name] for name in options.names or (SAMPLE if options.sample else CATALOGUE)
    ]
    if options.area:
        chosen = [each for each in chosen if each.area == options.area]
    for each in CATALOGUE.values():
        patching.mutated(each)
    start = time.monotonic()
    results = []
    with ThreadPoolExecutor(options.processes) as pool:
        for result in pool.map(lambda each: _run(each, options), chosen):
            results.append(result)
            said = result.by_seed or "no seed"
            if result.by_test:
                said += f"; {result.by_test}"
            if not result.killed:
                said = f"SURVIVED{' (equivalent)' if result.mutant.equivalent else ''}"
            _say(f"{result.mutant.name} [{result.mutant.area}] {said} ({result.seconds:.0f} s)")
    wanted = [each for each in results if not each.mutant.equivalent]
    by_seeds = sum(each.by_seed is not None for each in wanted)
    killed = sum(each.killed for each in wanted)
    wrong = [each.mutant.name for each in results if each.killed == bool(each.mutant.equivalent)]
    _say(
        f"{len(results)} mutants, {len(results) - len(wanted)} of them equivalent; of the others "
        f"{by_seeds} found by seeds, {killed} in all, in {time.monotonic() - start:.0f} s"
    )
    if wrong:
        _say(f"not as the catalogue says: {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
