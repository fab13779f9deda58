"""
L{acceptance.lab}: its processes, conditions, loads and reports.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.loads import Load
from acceptance.lab.processes import FileOutput, Process
from acceptance.lab.reports import Report
from acceptance.lab.waiting import Broken, wait_until

SAY = "import sys; print('hello', *sys.argv[1:], flush=True)"


class ProcessTests(SynchronousTestCase):
    """
    A command that is run again and again.
    """

    def process(self, code: str, output: FileOutput | None = None) -> Process:
        """A process of Python, ended in the end."""
        process = Process([sys.executable, "-c", code], Path.cwd(), name="it", output=output)
        self.addCleanup(process.kill)
        return process

    def test_each_run_has_its_log(self) -> None:
        """
        C{log} and C{expect} are of the last run, the output of all, in a file with a name or
        without.
        """
        for output in (FileOutput(), FileOutput(Path("output").absolute())):
            process = self.process(SAY, output)
            process.start("one").expect("hello one")
            self.assertEqual(process.ended(), 0)
            process.start("two").expect("hello two")
            self.assertEqual((process.ended(), process.stop()), (0, 0))
            self.assertEqual(process.log, "hello two\n")
            self.assertEqual(process.output.read(), b"hello one\nhello two\n")

    def test_ended_before(self) -> None:
        """
        A process that has ended is not waited for.
        """
        process = self.process("print('last words'); raise SystemExit(3)").start()
        error = self.assertRaises(Broken, process.expect, "hello")
        self.assertIn("last words", str(error))
        error = self.assertRaises(Broken, process.wait_until, lambda: False, "ready")
        self.assertIn("it ended with status 3; the end of its log:\n    last words", str(error))
        self.assertEqual(process.stop(), 3)

    def test_never_started(self) -> None:
        """
        A process that was never started is stopped without more.
        """
        self.assertEqual(self.process(SAY).stop(), 0)


class WaitingTests(SynchronousTestCase):
    """
    Conditions outside of this process.
    """

    def test_error_means_not_yet(self) -> None:
        """
        A condition that raises an L{OSError} is asked again.
        """
        answers: list[bool | OSError] = [OSError(), False, True]

        def met() -> bool:
            answer = answers.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer

        wait_until(met, "it", pause=0)
        self.assertEqual(answers, [])

    def test_too_long(self) -> None:
        """
        A condition that does not come to hold is named.
        """
        error = self.assertRaises(Broken, wait_until, lambda: False, "it holds", 0.0)
        self.assertEqual(str(error), "not within 0 s: it holds")


class ReportTests(SynchronousTestCase):
    """
    Verdicts on figures and loads.
    """

    def load(self, *outcomes: str) -> Load:
        """A load with some outcomes."""
        load = Load(lambda: "")
        load.outcomes.update(outcomes)
        return load

    def test_verdicts(self) -> None:
        """
        A report has failed once a bar was missed, or requests were not answered as they
        should.
        """
        for act, failed in (
            (lambda report: report.bar("it", 1, 1, "s"), False),
            (lambda report: report.bar("it", 2, 1, "s"), True),
            (lambda report: report.fail("it"), True),
            (lambda report: report.traffic("there", self.load("200", "200")), False),
            (lambda report: report.traffic("there", self.load("200", "503")), True),
            (lambda report: report.traffic("there", self.load("200", "504"), spared=1), False),
            (lambda report: report.traffic("there", self.load()), True),
        ):
            with redirect_stdout(StringIO()):
                report = Report()
                act(report)
            self.assertEqual(report.failed, failed)
