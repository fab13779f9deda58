"""
The judge of all servers, by the requests that this node sends them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from twisted.logger import Logger

from alacrity.config import EjectionSettings
from alacrity.pool import Change, State
from alacrity.proxy.deadlines import Deadlines
from alacrity.proxy.events import Abandoned, Cause, Failed, FailureKind, Outcome, Succeeded
from alacrity.proxy.upstream.balancer import Balancer
from alacrity.proxy.upstream.failing.alternatives import another_can_take, can_take
from alacrity.proxy.upstream.failing.ejection import counts, may_eject
from alacrity.proxy.upstream.failing.periods import next_period
from alacrity.proxy.upstream.failing.silence import SilenceWatch
from alacrity.proxy.upstream.failing.trouble import Probe, Trouble
from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.standing import Standing

FIRST_ASIDE: Final = 1.0
"""Seconds of the first time aside."""

LONGEST_ASIDE: Final = 30.0

HINT_INTERVAL: Final = 1.0
"""Seconds between two hints to the leader about one server."""

UNREACHABLE: Final = frozenset(
    {
        FailureKind.CONNECT_FAILED,
        FailureKind.CONNECT_REFUSED,
        FailureKind.CONNECT_TIMED_OUT,
        FailureKind.UNUSABLE_WHEN_ACCEPTED,
    }
)
"""The failures that put a server aside: there is no connection."""


EARLINESS: Final = 0.1
"""Seconds by which a look at silent servers may come before its time. A server's silence is noticed
when it has begun, up to a quarter of a second late."""

_log: Final = Logger()


class FailureWatch:
    """
    Puts servers aside and ejects them, and chooses the requests that try them.

    It is looked after by L{Deadlines}, which call L{expired} at each of their checks.

    @ivar deadline: always passed.
    @ivar due: the servers that a request is to try.
    """

    deadline: float = 0.0

    def __init__(
        self,
        settings: EjectionSettings,
        balancer: Balancer,
        deadlines: Deadlines,
        monotonic: Callable[[], float],
        *,
        look: Callable[[], object] = lambda: None,
        on_hint: Callable[[str, str], object] = lambda id, reason: None,
    ) -> None:
        """
        @param monotonic: a clock, in seconds.
        @param look: is called a few times a second, too.
        @param on_hint: is called with a server's id, and a reason to check it soon.
        """
        self._settings = settings
        self._balancer = balancer
        self._deadlines = deadlines
        self._monotonic = monotonic
        self._look = look
        self._on_hint = on_hint
        self._statuses = frozenset(settings.statuses) if settings.failures else frozenset()
        self._troubles: dict[UpstreamServer, Trouble] = {}
        self._hinted: dict[str, float] = {}
        self._silence = SilenceWatch()
        self._eligible: int | None = None
        self.due: list[UpstreamServer] = []
        deadlines.add(self)

    def __repr__(self) -> str:
        return f"<FailureWatch {list(self._troubles.values())}>"

    def hint_to(self, on_hint: Callable[[str, str], object]) -> None:
        """
        Have a function called with a server's id, and a reason to check it soon; at most once a
        second for each server.
        """
        self._on_hint = on_hint

    # The pool

    def changed(self, change: Change) -> None:
        """
        A server of the pool has changed, and the balancer was told. To be subscribed to the
        pool's view.

        Checks that fail take a server down for all, and one that comes back, or is registered
        anew, starts with a clean slate. A check that passes ends nothing: requests tell more.
        """
        before, after = change.before, change.after
        self._eligible = None
        if before is None or (
            after is not None and after.state is State.UP and after.revision == before.revision
        ):
            return
        upstream = self._balancer.upstream(before.id)
        if upstream is None:
            upstream = next((each for each in self._troubles if each.retired), None)
        if upstream in self._troubles:
            self._clear(upstream)
        if after is None:
            self._hinted.pop(before.id, None)

    def _clear(self, upstream: UpstreamServer) -> None:
        del self._troubles[upstream]
        self._silence.forget(upstream)
        upstream.clear_trouble()
        if upstream in self.due:
            self.due.remove(upstream)
        self._balancer.set_standing(upstream, Standing.GOOD)

    # The ends of attempts

    def ended(
        self, upstream: UpstreamServer, attempt: object, outcome: Outcome, *, was_reused: bool
    ) -> None:
        """
        An attempt has ended. Need not be told of the successes of a server without trouble.

        @param attempt: L{None}: it is under way still, and its server is silent.
        @param was_reused: whether its connection had been used before.
        """
        trouble = self._troubles.get(upstream)
        if trouble is None:
            if upstream.retired or not self._is_failure(outcome):
                return
            trouble = self._troubles[upstream] = Trouble(upstream.id, self)
            upstream.note_trouble(trouble)
        self._attempt_ended(upstream, trouble, attempt, outcome, was_reused=was_reused)

    def _is_failure(self, outcome: Outcome) -> bool:
        if isinstance(outcome, Succeeded):
            return outcome.status in self._statuses
        return isinstance(outcome, Failed)

    def head_came(self, trouble: Trouble) -> None:
        """
        A server in trouble has begun a response: whatever it says, it is not to be aside.
        """
        upstream = self._upstream_of(trouble)
        if upstream is None or trouble.aside is None:
            return
        trouble.end_aside()
        if trouble.ejection is None:
            _log.info("server {server} answers again", server=trouble.id)
        self._settle(upstream, trouble)

    def _attempt_ended(
        self,
        upstream: UpstreamServer,
        trouble: Trouble,
        attempt: object,
        outcome: Outcome,
        *,
        was_reused: bool,
    ) -> None:
        was_probe = attempt is not None and trouble.probe is attempt
        if was_probe:
            trouble.release_probe()
        match outcome:
            case Succeeded(status):
                if status in self._statuses:
                    self._count(upstream, trouble, f"status {status}", was_probe=was_probe)
                else:
                    self._succeeded(trouble, was_probe=was_probe)
            case Failed(cause):
                if cause.kind in UNREACHABLE:
                    self._put_aside(upstream, trouble, cause.text)
                elif cause.kind is FailureKind.SILENT:
                    self._put_aside(upstream, trouble, cause.text, is_silent=True)
                elif counts(cause, was_reused=was_reused):
                    self._count(upstream, trouble, cause.text, was_probe=was_probe)
            case Abandoned():
                pass  # Another request is to try it.
        self._settle(upstream, trouble)

    def _upstream_of(self, trouble: Trouble) -> UpstreamServer | None:
        upstream = self._balancer.upstream(trouble.id)
        if upstream is None or self._troubles.get(upstream) is not trouble:
            return None
        return upstream

    def _settle(self, upstream: UpstreamServer, trouble: Trouble) -> None:
        """
        Have the balancer know, and forget what is over.
        """
        if trouble.is_over:
            self._clear(upstream)
        else:
            self._balancer.set_standing(upstream, trouble.standing)

    def _succeeded(self, trouble: Trouble, *, was_probe: bool) -> None:
        trouble.count_success()
        # A success of a request that was sent before tells little.
        if was_probe and trouble.ejection is not None:
            trouble.end_ejection()
            _log.info("server {server} is in again: it answers well", server=trouble.id)

    # Aside

    def _put_aside(
        self, upstream: UpstreamServer, trouble: Trouble, why: str, *, is_silent: bool = False
    ) -> None:
        now = self._monotonic()
        before = trouble.aside
        if before is not None and now < before.until:
            return  # A request that had begun before.
        period = next_period(before, now, first=FIRST_ASIDE, longest=LONGEST_ASIDE)
        trouble.put_aside(period, is_silent=is_silent)
        # Whatever connects to it now shall find out whether it is there.
        upstream.close_idle()
        if before is None:
            _log.warn(
                "server {server} is aside, until it answers: {why}", server=trouble.id, why=why
            )
        self._hint(trouble.id, why)

    def _hint(self, id: str, why: str) -> None:
        now = self._monotonic()
        last = self._hinted.get(id)
        if last is None or now - last >= HINT_INTERVAL:
            self._hinted[id] = now
            self._on_hint(id, why)

    # Ejection

    def _count(
        self, upstream: UpstreamServer, trouble: Trouble, why: str, *, was_probe: bool
    ) -> None:
        settings = self._settings
        if not settings.failures:
            return
        trouble.count_failure()
        before = trouble.ejection
        if before is not None and not was_probe:
            return  # A request that had begun before, or that no other server could take.
        if before is None and not self._may_eject(upstream, trouble):
            return
        ejection = next_period(
            before, self._monotonic(), first=settings.duration, longest=settings.max_duration
        )
        trouble.eject(ejection)
        _log.warn(
            "server {server} is ejected for {seconds} s: {why} ({failures} failures in a row)",
            server=trouble.id,
            seconds=round(ejection.length, 1),
            why=why,
            failures=trouble.failures,
        )
        self._hint(trouble.id, why)

    def _may_eject(self, upstream: UpstreamServer, trouble: Trouble) -> bool:
        if trouble.failures < self._settings.failures or not upstream.pooled.eligible:
            return False
        if self._eligible is None:
            self._eligible = sum(each.pooled.eligible for each in self._balancer.upstreams())
        ejected = sum(
            each.ejection is not None and server.pooled.eligible
            for server, each in self._troubles.items()
        )
        return may_eject(self._eligible, ejected, self._settings.max_share)

    # Probes

    def take_probe(
        self, tried: Collection[UpstreamServer], *, may_repeat: bool
    ) -> UpstreamServer | None:
        """
        The server that the next request is to try, if one is due. Call L{probe_began} then.

        @param tried: servers that have failed the request already.
        @param may_repeat: whether the request may be sent twice.
        """
        for upstream in self.due:
            trouble = self._troubles[upstream]
            if (
                can_take(upstream)
                and upstream not in tried
                and (may_repeat or not trouble.is_silent)
                # It may have failed since it was noted.
                and trouble.is_due(self._monotonic())
            ):
                self.due.remove(upstream)
                trouble.choose()
                return upstream
        return None

    def probe_began(self, upstream: UpstreamServer, attempt: Probe) -> None:
        """
        The attempt that tries a server has begun.
        """
        trouble = self._troubles.get(upstream)
        if trouble is not None:
            trouble.take_probe(attempt)

    # A few times a second

    def expired(self) -> None:
        """
        Look for silent servers, and for those that a request is to try.
        """
        self._look()
        silence, now = self._settings.silence, self._deadlines.now
        # A look that comes a bit early must not leave it all to the next.
        silence = max(silence - EARLINESS, silence / 2)
        if silence:
            for upstream in tuple(self._balancer.upstreams()):
                if upstream.active and self._silence.silent_for(upstream, now) >= silence:
                    self._fell_silent(upstream)
        for upstream, trouble in tuple(self._troubles.items()):
            if trouble.probe is not None and trouble.probe_waits(now) >= silence > 0:
                self._probe_fell_silent(upstream, trouble, trouble.probe)
        now = self._monotonic()
        self.due = [each for each, trouble in self._troubles.items() if trouble.is_due(now)]

    def _fell_silent(self, upstream: UpstreamServer) -> None:
        trouble = self._troubles.get(upstream)
        # Alone, it goes on as before. One that is aside is tried by probes.
        if (trouble is None or trouble.aside is None) and another_can_take(
            self._balancer, upstream
        ):
            self.ended(upstream, None, Failed(self._silent_cause()), was_reused=True)

    def _probe_fell_silent(self, upstream: UpstreamServer, trouble: Trouble, probe: Probe) -> None:
        if probe.may_repeat:
            if another_can_take(self._balancer, upstream):
                probe.fell_silent(self._silent_cause())
        else:
            # It waits on; another request is to try the server.
            trouble.release_probe()
            self.ended(upstream, None, Failed(self._silent_cause()), was_reused=True)

    def _silent_cause(self) -> Cause:
        text = f"the server has answered nobody for {self._settings.silence:g} s"
        return Cause(FailureKind.SILENT, text, was_sent=True, repeat_is_safe=True)
