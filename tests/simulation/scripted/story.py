"""
The language of the scripts: L{Story}.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final, Self

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.pool import HttpCheck, Register, server_id
from tests.simulation.clock import patched
from tests.simulation.nodes import member
from tests.simulation.run import Run
from tests.simulation.scenarios import Scenario

PATIENCE: Final = 15.0
"""Seconds of virtual time that anything may take."""

_NEVER: Final = 10.0**9


class Change:
    """
    A change that was asked for: a write, or one of the members.

    @ivar name: for messages; of a write, the request's id.
    @ivar through: the node that was asked.
    @ivar server: the id of the server that a write registers.
    """

    def __init__(self, name: str, through: str, server: str = "") -> None:
        self.name = name
        self.through = through
        self.server = server
        self._result: Any = None
        self.answered = False

    def answer(self, result: Any) -> None:
        """
        Note the answer, if it is the first.
        """
        if not self.answered:
            self._result = result
            self.answered = True

    @property
    def acknowledged(self) -> bool:
        """
        True if the answer is that it is done.
        """
        return self.answered and not isinstance(self._result, Failure)

    @property
    def refused(self) -> bool:
        """
        True if the answer is that it is not done, and will not be.
        """
        return self._failed_with(ProposalRefused)

    @property
    def unknown(self) -> bool:
        """
        True if the answer is that it may be done, or not.
        """
        return self._failed_with(OutcomeUnknown)

    def _failed_with(self, kind: type[Exception]) -> bool:
        return isinstance(self._result, Failure) and self._result.check(kind) is not None


class Story:
    """
    A cluster in a world where nothing goes wrong but what the script says.

    At its end, all is healed and started, and the promises are reckoned: those of Raft that
    the ledger watches all along, no acknowledged write lost, and members that are equal.

    @ivar names: of all nodes.
    """

    def __init__(self, *, nodes: int = 3, spare: int = 0, log: int = 5000, seed: int = 1) -> None:
        """
        @param nodes: how many begin the cluster.
        @param spare: how many more there are, which do not run.
        @param log: entries, beyond which logs are compacted.
        """
        self._scenario = Scenario(
            nodes=nodes, spare=spare, log=log, slice=300, clients=0, pace=(_NEVER, _NEVER)
        )
        self._seed = seed
        self._writes: list[Change] = []
        self._changes: list[Change] = []
        self._gone: set[str] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(patched())
        self._run = Run(self._seed, self._scenario)
        self._nodes: dict[str, Any] = self._run.nodes
        self.names = sorted(self._nodes)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._stack:
            if kind is None:
                self._reckon()

    # Time

    def wait(self, seconds: float) -> None:
        """
        Let virtual time pass.
        """
        world = self._run.world
        world.run(world.now + seconds)
        self._expect_promises()

    def until(self, met: Callable[[], bool], what: str) -> None:
        """
        Let virtual time pass until a condition holds.

        @raise AssertionError: it takes too long, or a promise was broken.
        """
        world, violations = self._run.world, self._run.ledger.violations
        world.run(world.now + PATIENCE, lambda: bool(violations) or met())
        self._expect_promises()
        assert met(), f"not within {PATIENCE} s: {what}\n" + self.trace()

    def trace(self) -> str:
        """
        The last things that happened.
        """
        states = [node.describe() for node in self._nodes.values()]
        return "\n".join([*self._run.world.trace[-40:], *states])

    def _expect_promises(self) -> None:
        violations = self._run.ledger.violations
        assert not violations, "\n".join([*violations, self.trace()])

    # Nodes and wires

    def leader(self, *among: str) -> str:
        """
        Wait until one of these nodes leads.

        @param among: none: any.
        @return: its name.
        """
        names = among or tuple(self.names)
        self.until(lambda: bool(self._leading(names)), f"one of {names} leads")
        return self._leading(names)[0]

    def _leading(self, names: tuple[str, ...]) -> list[str]:
        nodes = (self._nodes[name] for name in names)
        return [node.name for node in nodes if node.running and node.leads]

    def others(self, *names: str) -> list[str]:
        """
        The names of the running nodes besides these.
        """
        return [each for each in self.names if self._nodes[each].running and each not in names]

    def cut_off(self, *names: str) -> None:
        """
        Let these nodes hear each other, and nobody else.
        """
        others = set(self.names) - set(names)
        self._run.network.cut({pair for a in names for b in others for pair in ((a, b), (b, a))})

    def heal(self) -> None:
        """
        Let all nodes hear each other.
        """
        self._run.network.cut(set())

    def kill(self, *names: str) -> None:
        """
        Have nodes lose power, and with it what they have not synced. What they were asked
        has an unknown outcome then.
        """
        for name in names:
            self._nodes[name].kill(power=True)
            for change in self._changes:
                if change.through == name:
                    change.answer(Failure(OutcomeUnknown("it has died")))

    def start(self, *names: str) -> None:
        """
        Start nodes.
        """
        for name in names:
            self._nodes[name].start()

    def start_empty(self, name: str, *, founders: tuple[str, ...] = ()) -> None:
        """
        Start a node that has lost its files.

        @param founders: the members by its configuration; none: it waits to be taken in.
        """
        self.kill(name)
        node = self._nodes[name]
        node.wipe()
        node.founders = founders
        node.start()

    def pause(self, name: str) -> None:
        """
        Have a node do nothing, as SIGSTOP does.
        """
        self._nodes[name].time.pause()

    def resume(self, name: str) -> None:
        """
        Have it go on.
        """
        self._nodes[name].time.resume()

    def hand_over(self, to: str) -> None:
        """
        Ask the leader to hand over to a node.
        """
        self._nodes[self.leader()].replica.hand_over(to)

    def have_lead(self, name: str) -> None:
        """
        Ask the leader to hand over to a node, each second until it leads.
        """
        world = self._run.world
        asked = world.now - 1.0

        def does_lead() -> bool:
            nonlocal asked
            if self._nodes[name].leads:
                return True
            if world.now >= asked + 1.0 and self._leading(tuple(self.names)):
                asked = world.now
                self.hand_over(to=name)
            return False

        self.until(does_lead, f"{name} leads")

    # Changes

    def ask(self, through: str) -> Change:
        """
        Ask a node to register a server, without waiting.
        """
        ledger, world = self._run.ledger, self._run.world
        port = len(self._writes) + 1
        change = Change(f"story-{port}", through, server_id("10.0.0.1", port))
        self._writes.append(change)
        self._changes.append(change)
        node = self._nodes[through]

        def answer(result: Any) -> None:
            if change.answered:
                return
            change.answer(result)
            if change.acknowledged:
                ledger.acknowledge(change.name)
                ledger.shown(node.name, change.name, node.pool.index)
            elif change.refused:
                ledger.refuse(change.name)

        command = Register("10.0.0.1", port, HttpCheck(), 1, world.now)
        node.propose(command, change.name).addBoth(answer)
        return change

    def write(self, through: str) -> Change:
        """
        Have a node register a server, and wait until that is acknowledged.
        """
        change = self.ask(through)
        self._acknowledged(change)
        return change

    def ask_to_add(self, name: str, through: str) -> Change:
        """
        Ask a node to take another one in, without waiting.
        """
        replica = self._nodes[through].replica
        return self._begin(
            Change(f"add {name}", through), replica.add_member(member(name), timeout=8.0)
        )

    def add(self, name: str, through: str) -> None:
        """
        Start an empty node, and have another one take it in.
        """
        self.start_empty(name)
        self._acknowledged(self.ask_to_add(name, through))
        self._gone.discard(name)

    def ask_to_remove(self, name: str, through: str) -> Change:
        """
        Ask a node to remove another one from the cluster, without waiting.
        """
        replica = self._nodes[through].replica
        return self._begin(
            Change(f"remove {name}", through), replica.remove_member(name, timeout=8.0)
        )

    def remove(self, name: str, through: str) -> None:
        """
        Have a node remove another one from the cluster.
        """
        self._acknowledged(self.ask_to_remove(name, through))
        self._gone.add(name)

    def _begin(self, change: Change, coroutine: Any) -> Change:
        self._changes.append(change)
        Deferred.fromCoroutine(coroutine).addBoth(change.answer)
        return change

    def _acknowledged(self, change: Change) -> None:
        self.until(lambda: change.answered, f"an answer to {change.name}")
        assert change.acknowledged, f"{change.name}: {change._result}\n" + self.trace()

    def answered(self, *changes: Change) -> None:
        """
        Wait until changes are answered, whatever the answer.
        """
        self.until(
            lambda: all(change.answered for change in changes),
            f"answers to {[change.name for change in changes]}",
        )

    # Views

    def has(self, name: str, change: Change) -> bool:
        """
        True if a node shows a write.
        """
        return change.server in self._nodes[name].pool.servers

    def members(self, name: str) -> set[str]:
        """
        The names of the members, as a node sees them.
        """
        return {each.name for each in self._nodes[name].replica.status().members}

    def snapshot(self, name: str) -> int:
        """
        The index of the last entry in the snapshot on a node's disk; 0: there is none.
        """
        index: int = self._run.ledger.disk(name).snapshot[0]
        return index

    def keeps(self, name: str, index: int) -> bool:
        """
        True if an entry is in the log on a node's disk, and not only in the snapshot.
        """
        return self._run.ledger.disk(name).term_at(index) is not None

    def last_index(self, name: str) -> int:
        """
        The index of the last entry on a node's disk.
        """
        return int(self._run.ledger.disk(name).last_index)

    # The end

    def settle(self) -> None:
        """
        Wait until somebody leads, and all members that run are equal.
        """
        leader = self.leader()

        def equal() -> bool:
            pools = {self._nodes[name].pool.index for name in self._present()}
            return len(pools) == 1

        self.until(equal, f"all are as {leader} is")

    def _present(self) -> list[str]:
        """
        The members that run.
        """
        return sorted(self.members(self.leader()) & set(self.others()))

    def _reckon(self) -> None:
        self.heal()
        for name in self._scenario_founders():
            node = self._nodes[name]
            if node.time.paused:
                node.time.resume()
            if not node.running and name not in self._gone:
                node.start()
        self.settle()
        self.answered(*self._writes)
        for name in self._present():
            for change in self._writes:
                if change.acknowledged:
                    assert self.has(name, change), f"{name} has lost {change.name}\n{self.trace()}"
                if change.refused:
                    assert not self.has(name, change), f"{name} has {change.name}\n{self.trace()}"

    def _scenario_founders(self) -> list[str]:
        return self.names[: self._scenario.nodes]
