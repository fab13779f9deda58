"""
L{alacrity.health.checks.runners}: each type of check has a function that runs it, and a
document.
"""

from __future__ import annotations

from typing import Any, get_args

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.checks import Checks, Verdict
from alacrity.management.documents.checks import check_document, read_check
from alacrity.management.documents.schemas import CHECK_DOCUMENTS
from alacrity.pool import Check, NoCheck, Server
from tests.health.checks.fake_servers import server_at


class TypeTests(SynchronousTestCase):
    """
    Every type in the union L{Check}.
    """

    def test_it_is_run(self) -> None:
        run: list[tuple[str, float]] = []

        def running(name: str) -> Any:
            def check(server: Server, check: Check, timeout: float) -> Deferred[Verdict]:
                run.append((name, timeout))
                return succeed(Verdict(passed=True, reason=name))

            return check

        kinds = [kind for kind in get_args(Check) if kind is not NoCheck]
        names = [kind.__struct_config__.tag for kind in kinds]
        checks = Checks(**{name: running(name) for name in names})
        for kind in kinds:
            self.successResultOf(checks.check(server_at("10.0.0.7", 80, kind()), 1.5))
        self.assertEqual(run, [(name, 1.5) for name in names])
        with self.assertRaises(ValueError):
            checks.check(server_at("10.0.0.7", 80, NoCheck()), 1.5)

    def test_it_has_a_document(self) -> None:
        """
        A check that is shown can be read again.
        """
        self.assertEqual(
            set(CHECK_DOCUMENTS), {kind.__struct_config__.tag for kind in get_args(Check)}
        )
        kinds = [kind for kind in get_args(Check) if kind is not NoCheck]
        self.assertEqual(read_check(check_document(NoCheck()), 5.0), NoCheck())
        for kind in kinds:
            for check in (kind(), kind(interval=2.0, timeout=1.0, rise=1, fall=2, port=9)):
                self.assertEqual(read_check(check_document(check), 5.0), check)
