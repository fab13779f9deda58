"""
Servers that fail, come and go, behind Alacrity and behind HAProxy in the same run: C{python -m
acceptance.failures}.

Each scenario has a steady load of idempotent requests with a few POSTs, and is played with
either proxy in its default configuration. Prints one table, with a row for each scenario and
proxy. The exit status is 1 if Alacrity misses a bar; HAProxy's are for comparison.

As root, with Debian's C{iproute2}, C{iptables} and C{haproxy}; without HAProxy its rows are left
out.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from acceptance.lab.clients import PATIENCE
from acceptance.lab.clusters import ADDRESS, free_ports
from acceptance.lab.failover import failover
from acceptance.lab.namespaces import HUB_ADDRESS, NODES, address, drop, inside, network
from acceptance.lab.origins import HEALTH, SERVICE_TIME, Behaviour, Origin
from acceptance.lab.outcomes import (
    Bar,
    Figures,
    Row,
    figures,
    median,
    sent_twice,
    table,
    tries_after,
    write_outcomes,
)
from acceptance.lab.plays import SLACK, Lengths, Play, Scenario
from acceptance.lab.processes import allow_descriptors, exit_with
from acceptance.lab.rivals import Alacrity, Haproxy, Rival, Setting, find_haproxy
from acceptance.lab.scenarios import parser_of
from acceptance.lab.waiting import Broken, wait_until

CONNECT: Final = 3.0
"""Seconds of the default C{timeouts.connect}."""

_MARKS_DOWN: Final = "observe layer7 error-limit 5 on-error mark-down"
_TOLD: Final = "haproxy, told"

LONG: Final = Lengths(2.0, 10.0, PATIENCE)
SHORT: Final = Lengths(1.0, 5.0, 4.0)


def _no_failure(play: Play, found: Figures) -> tuple[Bar, ...]:
    return (Bar("idempotent requests failed", found.failed, 0),)


def _no_failure_at_all(play: Play, found: Figures) -> tuple[Bar, ...]:
    return (*_no_failure(play, found), Bar("POSTs failed", found.posts, 0))


def _kill(play: Play) -> None:
    play.origins[0].send(signal.SIGKILL)
    play.watch()


def _killed_bars(play: Play, found: Figures) -> tuple[Bar, ...]:
    late = tries_after(play.tries, 0.1, 0.9)
    return (*_no_failure(play, found), Bar("tries 100 ms after the first failure", late, 0))


def _stop(play: Play) -> None:
    play.origins[0].send(signal.SIGSTOP)


def _stopped_bars(play: Play, found: Figures) -> tuple[Bar, ...]:
    return (
        Bar("failures of requests begun after 2 s", found.late_failed, 0),
        Bar("later requests that waited", found.late, play.later),
    )


def _cut(play: Play) -> None:
    drop(NODES[0], int(HUB_ADDRESS.rpartition(".")[2]), "INPUT", "OUTPUT")


def _cut_bars(play: Play, found: Figures) -> tuple[Bar, ...]:
    return (
        *_no_failure(play, found),
        Bar("longest wait", found.longest, play.usual() + CONNECT + SLACK),
        Bar("later requests that waited", found.late, play.later),
    )


def _refuse(play: Play) -> None:
    # At once, so that few requests are in hand when it has answered five.
    play.origins[0].behave(Behaviour(503, 503, 0.0))


def _refuse_but_pass(play: Play) -> None:
    play.origins[0].behave(Behaviour(503, 200, 0.0))


def _refused_bars(play: Play, found: Figures) -> tuple[Bar, ...]:
    # One server answers 503, so those that clients see come from it in a row.
    return (Bar("503 seen by clients", sum(each.fault == "503" for each in play.outcomes), 5),)


def _slow_down(play: Play) -> None:
    play.origins[0].behave(Behaviour(delay=2.0))


def _slow_bars(play: Play, found: Figures) -> tuple[Bar, ...]:
    after = median(each.took for each in play.outcomes if each.begun >= play.fault)
    return (
        *_no_failure_at_all(play, found),
        Bar("p50 ms of all", 1000 * after, 1250 * play.usual() + 1),
    )


def _kill_many(play: Play) -> None:
    play.origins[0].send(signal.SIGKILL)
    time.sleep(2.0)
    play.early = play.ratio_so_far()


def _many_bars(play: Play, found: Figures) -> tuple[Bar, ...]:
    return (
        *_no_failure(play, found),
        Bar("requests to servers for each in 2 s", play.early, 1.3),
        Bar("requests to servers for each", play.ratio, 1.3),
    )


def _fail_checks(play: Play) -> None:
    for each in play.origins:
        each.behave(Behaviour(health=500))
    wait_until(lambda: play.rival.in_service() == 0, "all servers are down")
    time.sleep(3.0)


def _settle(play: Play) -> None:
    wait_until(lambda: play.rival.in_service() == len(play.origins), "all servers are up")
    time.sleep(0.5)


def _deploy(play: Play) -> None:
    """
    Restart the servers one after the other, each by a SIGTERM, which ends it at once.
    """
    for each in play.origins:
        each.stop(patience=30)
        each.started()
        _settle(play)


def _deploy_told(play: Play) -> None:
    """
    Likewise, but let HAProxy drain each before, by its runtime API.
    """
    assert isinstance(play.rival, Haproxy)
    for each in play.origins:
        server = (each.host, each.port)
        play.rival.administer(server, "drain")
        time.sleep(0.5)
        each.stop(patience=30)
        each.started()
        play.rival.administer(server, "ready")
        _settle(play)


_RETRIES: Final = (
    "retry-on conn-failure empty-response 503\n    http-request disable-l7-retry if METH_POST"
)

SCENARIOS: Final[dict[str, Scenario]] = {
    "killed": Scenario(_kill, _killed_bars, Setting(server=_MARKS_DOWN)),
    "stopped": Scenario(_stop, _stopped_bars, Setting(tcp=True, server=_MARKS_DOWN)),
    "host-gone": Scenario(
        _cut,
        _cut_bars,
        Setting(server=_MARKS_DOWN),
        apart=True,
        notice=CONNECT + SLACK,
    ),
    "503-retried": Scenario(
        _refuse,
        _no_failure,
        Setting(
            toml='[retries]\non = ["connect", "reused", "reset", "503"]\n',
            backend=f"    {_RETRIES}",
            server=_MARKS_DOWN,
        ),
    ),
    "503": Scenario(_refuse, _refused_bars, Setting(server=_MARKS_DOWN)),
    "503-checks-pass": Scenario(_refuse_but_pass, _refused_bars, Setting(server=_MARKS_DOWN)),
    "slow": Scenario(
        _slow_down,
        _slow_bars,
        Setting(toml='[balance]\nmethod = "least_requests"\n', backend="    balance leastconn"),
    ),
    "deploy": Scenario(_deploy, _no_failure_at_all, Setting(register=False, server=_MARKS_DOWN)),
    "many-killed": Scenario(_kill_many, _many_bars, Setting(server=_MARKS_DOWN), servers=(30, 70)),
    "checks-broken": Scenario(_fail_checks, _no_failure_at_all),
}
FAILOVER: Final = "leader-killed"


def _register(rival: Rival, port: int) -> list[str]:
    """
    The command that registers a server with Alacrity, before that server's own; none with another
    proxy.
    """
    if not isinstance(rival, Alacrity):
        return []
    program = Path(sys.executable).with_name("alacrity")
    if not program.exists():
        raise Broken("there is no command alacrity")
    return [
        *(str(program), "register", f"--ip={ADDRESS}", f"--port={port}"),
        f"--check-path={HEALTH}",
        f"--to=http://{rival.node.host}:{rival.node.management}",
    ]


def _origins(name: str, scenario: Scenario, directory: Path, rival: Rival) -> list[Origin]:
    origins = []
    free = free_ports(sum(scenario.servers))
    for number, count in enumerate(scenario.servers, 1):
        ports, free = free[:count], free[count:]
        deployed = name == "deploy"
        origins.append(
            Origin(
                directory,
                f"origin-{number}",
                host=address(number) if scenario.apart else ADDRESS,
                ports=ports,
                within=inside(number) if scenario.apart else (),
                before=_register(rival, ports[0]) if deployed else (),
                abrupt=deployed,
            )
        )
    return origins


@contextlib.contextmanager
def _ended(processes: Sequence[Origin | Rival]) -> Iterator[None]:
    try:
        yield
    finally:
        for each in processes:
            each.kill()


def play(name: str, proxy: str, directory: Path, lengths: Lengths) -> Row:
    """
    Play a scenario with a proxy.
    """
    scenario = SCENARIOS[name]
    directory.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        if scenario.apart:
            stack.enter_context(network())
        rival: Rival
        if proxy == Alacrity.name:
            rival = Alacrity(directory, scenario.setting)
        else:
            rival = Haproxy(directory, scenario.setting)
        stack.enter_context(_ended([rival]))
        origins = _origins(name, scenario, directory, rival)
        stack.enter_context(_ended(origins))
        for each in origins:
            each.started()
        played = Play(rival, origins, lengths)
        played.run(_deploy_told if proxy == _TOLD else scenario.act)
        write_outcomes(directory / "outcomes", played.outcomes, played.fault)
        journals = [line for each in origins for line in each.journal()]
    found = figures(
        played.outcomes,
        played.fault,
        usual=max(SERVICE_TIME, played.usual()),
        notice=scenario.notice,
    )
    bars = (*scenario.bars(played, found), Bar("POSTs sent twice", sent_twice(journals), 0))
    return Row(name, proxy, found, played.ratio, bars)


def _rows(names: Sequence[str], directory: Path, lengths: Lengths) -> Iterator[Row]:
    for name in names:
        proxies = [Alacrity.name]
        if name != FAILOVER and find_haproxy() is not None:
            proxies += ["haproxy", _TOLD] if name == "deploy" else ["haproxy"]
        for proxy in proxies:
            place = directory / f"{name}-{proxy.replace(', ', '-')}"
            try:
                if name == FAILOVER:
                    yield failover(name, place, lengths.after)
                else:
                    yield play(name, proxy, place, lengths)
            except (Broken, OSError) as error:
                yield Row(name, proxy, None, math.nan, (), str(error))


def _main() -> int:
    names = [*SCENARIOS, FAILOVER]
    parser = parser_of(__doc__)
    parser.add_argument("--only", default=",".join(names), help="some of %(default)s")
    parser.add_argument("--short", action="store_true", help="half the time for each")
    parser.add_argument("--keep", type=Path, help="a directory for configuration and logs")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(names):
        parser.error(f"--only: {', '.join(sorted(unknown))}")
    allow_descriptors(8192)
    return _play_all(chosen, options)


def _play_all(names: Sequence[str], options: argparse.Namespace) -> int:
    if find_haproxy() is None:
        sys.stdout.write("without HAProxy, which is not here: apt-get install haproxy\n")
    rows = []
    with TemporaryDirectory(prefix="alacrity-") as temporary:
        directory = (options.keep or Path(temporary)).absolute()
        for row in _rows(names, directory, SHORT if options.short else LONG):
            rows.append(row)
            faults = row.figures.faults if row.figures is not None else row.note
            sys.stdout.write(f"{row.scenario}, {row.proxy}: {row.verdict}\n")
            sys.stdout.write("".join(f"    {bar}\n" for bar in row.bars))
            sys.stdout.write(f"    failures: {faults}\n" if faults else "")
            sys.stdout.flush()
    sys.stdout.write(f"\n{table(rows)}\n")
    return int(any(row.proxy == Alacrity.name and not row.met for row in rows))


if __name__ == "__main__":
    exit_with(_main)
