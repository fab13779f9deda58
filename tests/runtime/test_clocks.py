"""
Tests of L{alacrity.runtime.clocks}.
"""

from __future__ import annotations

import subprocess
import sys
import time

from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.waiting import PATIENCE
from alacrity.node.data_path import access_record
from alacrity.runtime.access_log import AccessRecord
from alacrity.runtime.clocks import steady
from tests.support.places import ROOT
from tests.support.wire import Proxy

_DAY = 86400.0

_SET = """
import sys, time

real = time.time
wall = [0.0]
time.time = lambda: real() + wall[0]

from pathlib import Path
from twisted.internet.task import LoopingCall
from alacrity.tap import Options, makeService

if sys.argv[1] != "uvloop":
    from twisted.internet import reactor
options = Options()
options.parseOptions([])
makeService(options)
from twisted.internet import reactor

rounds = []
late = []

def set_clock():
    limit = reactor.callLater(3600, late.append, "a time limit of an hour is over")
    wall[0] = float(sys.argv[2])
    looping.start(0.01)

def look():
    rounds.append(reactor.seconds())
    if len(rounds) == 5:
        wall[0] = -float(sys.argv[2])
    if len(rounds) == 10:
        print(type(reactor).__name__, late, -1 < rounds[-1] - rounds[0] < 60)
        reactor.stop()

looping = LoopingCall(look)
looping.clock = reactor
reactor.callWhenRunning(set_clock)
reactor.run()
"""


class SteadyTests(SynchronousTestCase):
    """
    L{steady}
    """

    def test_set(self) -> None:
        """
        It begins with the time of day, and does not follow when that is set.
        """
        wall, monotonic = [1000.0], [50.0]
        seconds = steady(lambda: wall[0], lambda: monotonic[0])
        self.assertEqual(seconds(), 1000.0)
        wall[0] -= _DAY
        self.assertEqual(seconds(), 1000.0)
        monotonic[0] += 7.5
        self.assertEqual(seconds(), 1007.5)


class ReactorTests(SynchronousTestCase):
    """
    The reactor of C{twistd alacrity}.
    """

    def test_clock_is_set(self) -> None:
        """
        When the clock of the machine is set, by a day and to either side, what is done
        again and again goes on, and no time limit is over.
        """
        for reactor, name in (("uvloop", "AsyncioSelector"), ("twisted", "EPoll")):
            for by in (_DAY, -_DAY):
                with self.subTest(reactor, by=by):
                    process = subprocess.run(
                        [sys.executable, "-c", _SET, reactor, str(by)],
                        cwd=ROOT,
                        check=False,
                        capture_output=True,
                        text=True,
                        timeout=PATIENCE,
                    )
                    self.assertEqual(
                        (process.stdout, process.returncode),
                        (f"{name}Reactor [] True\n", 0),
                        process.stderr,
                    )


class AccessLogTests(SynchronousTestCase):
    """
    The times in the access log.
    """

    def test_clock_is_set(self) -> None:
        """
        How long a request took does not depend on the time of day, which is that of its
        end.
        """
        proxy = Proxy()
        records: list[AccessRecord] = []
        proxy.listeners.requests = lambda ended: records.append(access_record(ended))
        client = proxy.client()
        client.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        proxy.clock.advance(2.5)
        self.patch(time, "time", lambda: _DAY)
        proxy.servers[0].receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        (record,) = records
        self.assertEqual((record.time, record.duration), (_DAY, 2.5))
