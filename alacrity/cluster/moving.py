"""
Changed addresses: members greet with their present ones, and the leader has them committed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.cluster.log.members import Member
from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused


class AddressWatch:
    """
    Proposes the changes of the members' addresses, on the leader, one at a time.
    """

    _log = Logger()

    def __init__(
        self,
        me: Member,
        greeted_from: Callable[[str], str],
        move: Callable[[str, str], Coroutine[Any, Any, object]],
        failed: Callable[[Failure], object],
    ) -> None:
        """
        @param me: this node, with its present address.
        @param greeted_from: gives the address with which a member has greeted; empty: none.
        @param move: proposes a new address for the member of a name.
        @param failed: called with a fault of the program.
        """
        self._me = me
        self._greeted_from = greeted_from
        self._move = move
        self._failed = failed
        self._under_way = False
        # The last change that was refused: it is not proposed again.
        self._refused = ("", "")

    def maybe_propose(self, members: Iterable[Member]) -> None:
        """
        Propose the present address of a member whose address in the log is another one. Called on
        the leader only.
        """
        if self._under_way:
            return
        for member in members:
            own = member.name == self._me.name
            address = self._me.address if own else self._greeted_from(member.name)
            if address not in {"", member.address} and (member.name, address) != self._refused:
                self._under_way = True
                moving = Deferred.fromCoroutine(self._propose(member, address))
                moving.addErrback(self._failed)
                return

    async def _propose(self, member: Member, address: str) -> None:
        try:
            await self._move(member.name, address)
        except ProposalRefused as refusal:
            self._refused = member.name, address
            self._log.warn(
                "the address of {name} cannot be changed from {before} to {now}: {why}",
                name=member.name,
                before=member.address,
                now=address,
                why=str(refusal),
            )
        except OutcomeUnknown:
            pass  # A later call proposes it again, if it is still needed.
        else:
            self._log.info(
                "the address of {name} was {before}, and is now {now}",
                name=member.name,
                before=member.address,
                now=address,
            )
        finally:
            self._under_way = False
