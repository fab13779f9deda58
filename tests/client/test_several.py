"""
L{alacrity.client.several}: which of several APIs is called.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from alacrity.client import ApiClient, CallFailed, CallRefused, NodeApi, SeveralApis
from alacrity.client.messages import ApiResponse
from tests.client.fake_api import FakeApi, run

GONE = ApiResponse(204, b"")


class SeveralApisTests(SynchronousTestCase):
    def apis(self, *answers: list[ApiResponse | Exception]) -> SeveralApis:
        """APIs that answer so."""
        self.fakes = [FakeApi(*each) for each in answers]
        return SeveralApis(
            [NodeApi(f"http://{n}", ApiClient(fake.send)) for n, fake in enumerate(self.fakes)]
        )

    def counts(self) -> list[int]:
        """The requests that each of them got."""
        return [len(fake.requests) for fake in self.fakes]

    def test_the_first_answers(self) -> None:
        apis = self.apis([GONE], [])
        self.successResultOf(run(apis.call(lambda api: api.deregister("a:1"))))
        self.assertEqual((apis.url, self.counts()), ("http://0", [1, 0]))

    def test_the_one_that_answers_is_remembered(self) -> None:
        """
        The next call begins with the API that answered last.
        """
        apis = self.apis([CallFailed("no")], [GONE, GONE], [])
        for _ in range(2):
            self.successResultOf(run(apis.call(lambda api: api.deregister("a:1"))))
        self.assertEqual((apis.url, self.counts()), ("http://1", [1, 2, 0]))

    def test_a_refusal_is_an_answer(self) -> None:
        apis = self.apis([ApiResponse(404, b"gone")], [])
        self.failureResultOf(run(apis.call(lambda api: api.deregister("a:1"))), CallRefused)
        self.assertEqual(self.counts(), [1, 0])

    def test_a_node_without_a_quorum_is_no_answer(self) -> None:
        apis = self.apis([ApiResponse(503, b"no quorum")], [GONE])
        self.successResultOf(run(apis.call(lambda api: api.deregister("a:1"))))
        self.assertEqual(self.counts(), [1, 1])

    def test_none_answers(self) -> None:
        """
        The failure has the cause of each, and the next call begins where this one did.
        """
        apis = self.apis([CallFailed("refused"), GONE], [CallFailed("late")])
        failure = self.failureResultOf(
            run(apis.call(lambda api: api.deregister("a:1"))), CallFailed
        )
        self.assertEqual(str(failure.value), "http://0: refused; http://1: late")
        self.successResultOf(run(apis.call(lambda api: api.deregister("a:1"))))
