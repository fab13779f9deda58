"""
The kinds of clusters, and the kinds and rates of their faults.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Scenario(msgspec.Struct, frozen=True):
    """
    @ivar nodes: how many begin the cluster.
    @ivar spare: how many more may come in.
    @ivar faults: how likely each is, of those that come.
    @ivar pace: seconds between two faults, from and to.
    @ivar trouble: seconds of faults.
    @ivar log: entries, beyond which logs are compacted.
    @ivar batch: bytes in a message.
    @ivar newer: the share of commands that only newer nodes understand.
    @ivar versions: the older and the newer; with the fault C{upgrade}, some nodes are of the older
        one, and are upgraded.
    @ivar administration: the share of commands about decisions, leases and the guard, of the
        second version; if there are any, leaders propose them too.
    @ivar leases: servers with leases, which they renew.
    @ivar drains: whether nodes have requests in flight, and callers remove servers and wait.
    @ivar sight: servers that are checked, each of which a node reaches or does not.
    @ivar repeats: the share of requests that were acknowledged before.
    @ivar backlog: entries that may be open.
    @ivar proposals: how many may wait on a node.
    @ivar forging: whether messages come that nobody honest sends.
    @ivar drill: whether the members hand over in the end, from one to the next.
    @ivar sockets: whether the transport that is shipped carries the messages.
    """

    nodes: int = 3
    spare: int = 0
    faults: dict[str, int] = {}
    pace: tuple[float, float] = (0.2, 1.5)
    trouble: float = 15.0
    log: int = 5000
    batch: int = 1 << 16
    slice: int = 1 << 16
    ahead: int = 1024
    clients: int = 3
    pause: tuple[float, float] = (0.0, 0.2)
    slow: float = 0.002
    disorder: float = 0.0
    late: float = 0.5
    barriers: float = 0.05
    newer: float = 0.0
    versions: tuple[int, int] = (3, 4)
    administration: float = 0.0
    leases: int = 0
    drains: bool = False
    sight: int = 0
    repeats: float = 0.0
    backlog: int = 2048
    proposals: int = 512
    forging: bool = False
    drill: bool = True
    sockets: bool = False


_NETWORK: Final = {
    "partition": 4,
    "isolate_leader": 3,
    "one_way": 3,
    "heal": 5,
    "lose_connection": 3,
    "pause": 2,
    "hand_over": 2,
}
_WIRES: Final = {
    "partition": 3,
    "isolate_leader": 4,
    "one_way": 3,
    "heal": 6,
    "lose_connection": 4,
    "flip_bit": 2,
    "hand_over": 2,
}
_CRASHES: Final = {"kill": 3, "power": 3, "crash_soon": 4, "all_killed": 1, "slow_disk": 1}
_DISK: Final = {"disk_full": 2, "write_fails": 2}
_MEMBERS: Final = {"add": 5, "remove": 5}

SCENARIOS: Final = {
    "partitions": Scenario(faults=_NETWORK),
    "compaction": Scenario(faults=_NETWORK, log=8, slice=300),
    "crashes": Scenario(faults=_CRASHES | {"lose_connection": 1, "pause": 1}, log=40),
    "everything": Scenario(faults=_NETWORK | _CRASHES | _DISK, log=12, slice=300),
    "members": Scenario(
        nodes=3, spare=2, faults=_NETWORK | _CRASHES | {"add": 10, "remove": 10}, log=30, slice=400
    ),
    "five": Scenario(
        nodes=5, faults=_NETWORK | {"kill": 2, "power": 1}, log=10, slice=300, pace=(0.4, 2.5)
    ),
    "small_batches": Scenario(faults=_NETWORK, batch=150, ahead=8, clients=6),
    "disorder": Scenario(
        faults=_NETWORK | {"kill": 2, "hand_over": 6},
        pace=(0.1, 0.8),
        disorder=0.2,
        slow=0.02,
        batch=300,
        log=30,
        slice=300,
        clients=6,
        pause=(0.0, 0.05),
    ),
    "hasty": Scenario(
        nodes=5,
        faults={"isolate_leader": 6, "heal": 5, "add": 15, "remove": 25, "lose_connection": 1},
        pace=(0.02, 0.4),
        log=60,
    ),
    "late": Scenario(
        nodes=5,
        faults={"isolate_leader": 8, "partition": 4, "heal": 6, "hand_over": 8, "kill": 1},
        pace=(0.1, 0.9),
        disorder=0.4,
        late=4.0,
        slow=0.01,
        log=12,
        clients=4,
    ),
    "long_cuts": Scenario(
        faults={"partition": 2, "isolate_leader": 2, "one_way": 2},
        pace=(3.0, 12.0),
        trouble=25.0,
        log=60,
    ),
    "slow_links": Scenario(
        faults={"hand_over": 8, "isolate_leader": 1, "one_way": 1, "heal": 3, "lose_connection": 1},
        pace=(0.05, 0.5),
        slow=0.4,
        log=50,
    ),
    "rewrites": Scenario(
        faults={"crash_soon": 10, "power": 4, "all_killed": 1, "isolate_leader": 1, "heal": 2},
        pace=(0.1, 0.8),
        log=6,
        slice=300,
    ),
    "grow": Scenario(
        nodes=1, spare=4, faults=_MEMBERS | {"kill": 1, "heal": 1, "lose_connection": 1}, log=20
    ),
    "replaced": Scenario(
        faults={"isolate_leader": 1, "heal": 2, "lose_files": 8, "kill": 1},
        pace=(0.5, 4.0),
        trouble=25.0,
        log=60,
    ),
    "lost_directories": Scenario(
        faults={"lose_directories": 8, "isolate_leader": 2, "one_way": 2, "heal": 5, "kill": 1}
        | {"power": 1, "lose_connection": 2, "hand_over": 1},
        pace=(0.3, 2.0),
        trouble=25.0,
        log=30,
        slice=400,
    ),
    "moves": Scenario(
        nodes=3,
        spare=1,
        faults={"move": 8, "isolate_leader": 2, "partition": 2, "one_way": 1, "heal": 5}
        | {"lose_connection": 2, "hand_over": 2, "add": 2, "remove": 2, "kill": 1},
        pace=(0.1, 1.0),
        log=30,
        slice=400,
    ),
    "mixed": Scenario(
        faults=_NETWORK | _CRASHES | {"upgrade": 14},
        pace=(0.1, 1.0),
        trouble=20.0,
        log=12,
        slice=300,
        newer=0.15,
    ),
    "formats": Scenario(
        faults=_NETWORK | _CRASHES | {"upgrade": 14},
        pace=(0.1, 1.0),
        trouble=20.0,
        log=12,
        slice=300,
        newer=0.15,
        versions=(1, 3),
    ),
    # Those that aim.
    "voters": Scenario(
        nodes=5,
        faults={"hunt_voters": 8, "split_vote": 6, "heal": 5, "isolate_leader": 2},
        pace=(0.1, 0.9),
        log=5,
        slice=4000,
        slow=0.02,
    ),
    "figure_8": Scenario(
        nodes=5,
        faults={"figure_8": 6, "heal": 3, "kill": 1, "one_way": 1, "hand_over": 2},
        pace=(0.8, 2.5),
        trouble=20.0,
        batch=1,
        clients=6,
        pause=(0.0, 0.05),
    ),
    "tails": Scenario(
        faults={"long_tail": 6, "heal": 2, "kill": 1, "power": 1, "lose_connection": 2},
        pace=(0.5, 2.0),
        trouble=12.0,
        log=40,
        slice=4000,
        batch=400,
        clients=40,
        pause=(0.0, 0.3),
        backlog=30,
        proposals=24,
        ahead=12,
        barriers=0.2,
    ),
    "storms": Scenario(
        nodes=3,
        spare=3,
        faults={
            "add": 22,
            "remove": 22,
            "lose_learner": 10,
            "lone_change": 10,
            "isolate_leader": 6,
            "partition": 3,
            "heal": 7,
            "power": 2,
            "lose_connection": 2,
            "hand_over": 2,
        },
        pace=(0.02, 0.3),
        log=30,
        slice=300,
    ),
    "forged": Scenario(
        nodes=5,
        spare=1,
        faults={"isolate_leader": 6, "split_vote": 4, "heal": 5, "kill": 1, "add": 2, "remove": 2},
        pace=(0.1, 1.0),
        slow=0.05,
        forging=True,
    ),
    "busy": Scenario(
        faults={"isolate_leader": 2, "heal": 4, "kill": 1, "hand_over": 2, "lose_connection": 2},
        pace=(0.4, 1.5),
        trouble=6.0,
        clients=220,
        pause=(0.2, 0.85),
        log=400,
        backlog=150,
        proposals=100,
        repeats=0.15,
        barriers=0.02,
    ),
    # Commands of format 2.
    "decisions": Scenario(
        faults=_NETWORK | _CRASHES | {"set_clock": 5, "die": 8},
        pace=(0.1, 1.0),
        log=40,
        slice=600,
        versions=(1, 3),
        administration=0.7,
    ),
    "decisions_upgrade": Scenario(
        faults=_NETWORK | _CRASHES | {"upgrade": 14, "set_clock": 3, "die": 5},
        pace=(0.1, 1.0),
        trouble=20.0,
        log=12,
        slice=600,
        newer=0.05,
        versions=(1, 3),
        administration=0.5,
    ),
    "leases": Scenario(
        faults=_NETWORK | _CRASHES | {"lose_server": 6},
        pace=(0.3, 2.5),
        trouble=30.0,
        log=60,
        slice=600,
        clients=1,
        versions=(1, 3),
        leases=6,
    ),
    "leases_cut": Scenario(
        nodes=5,
        faults={"partition": 3, "isolate_leader": 4, "one_way": 3, "heal": 4, "pause": 3, "doze": 5}
        | {"hand_over": 3, "kill": 1, "lose_server": 3},
        pace=(0.5, 4.0),
        trouble=40.0,
        log=60,
        slice=600,
        clients=1,
        pause=(0.1, 1.0),
        versions=(1, 3),
        leases=8,
    ),
    "drains": Scenario(
        faults=_NETWORK | {"kill": 2, "power": 1, "doze": 2},
        pace=(0.5, 3.0),
        trouble=30.0,
        log=60,
        slice=600,
        clients=1,
        pause=(0.1, 1.0),
        versions=(1, 3),
        drains=True,
    ),
    # Nodes that reach other servers.
    "sight": Scenario(
        faults={"change_sight": 8, "kill": 1, "isolate_leader": 1, "heal": 3, "hand_over": 1},
        pace=(0.3, 3.0),
        trouble=25.0,
        log=60,
        slice=600,
        clients=1,
        pause=(0.1, 1.0),
        versions=(1, 2),
        sight=8,
    ),
    "sight_five": Scenario(
        nodes=5,
        faults={"change_sight": 10, "kill": 1, "partition": 1, "heal": 3, "pause": 1},
        pace=(0.3, 3.0),
        trouble=25.0,
        log=60,
        slice=600,
        clients=1,
        pause=(0.1, 1.0),
        versions=(1, 2),
        sight=8,
    ),
    # Over sockets.
    "sockets_lost_directories": Scenario(
        nodes=5,
        faults={"lose_directories": 8, "isolate_leader": 2, "one_way": 2, "heal": 5, "kill": 1}
        | {"power": 1, "lose_connection": 2, "hand_over": 1},
        pace=(0.3, 2.0),
        trouble=25.0,
        log=30,
        slice=400,
        sockets=True,
    ),
    "sockets": Scenario(
        faults=_WIRES | {"kill": 3, "power": 2, "crash_soon": 2, "write_fails": 1},
        log=30,
        slice=300,
        sockets=True,
    ),
    "sockets_members": Scenario(
        nodes=3,
        spare=2,
        faults=_WIRES | {"kill": 1, "power": 1, "add": 8, "remove": 8},
        log=30,
        slice=300,
        sockets=True,
    ),
    "sockets_upgrade": Scenario(
        faults=_WIRES | {"kill": 3, "power": 1, "upgrade": 14},
        pace=(0.1, 1.0),
        trouble=20.0,
        log=30,
        slice=300,
        newer=0.1,
        versions=(1, 3),
        sockets=True,
    ),
    "sockets_greetings": Scenario(
        faults=_WIRES | {"kill": 3, "power": 1, "upgrade": 14},
        pace=(0.1, 1.0),
        trouble=20.0,
        log=30,
        slice=300,
        versions=(2, 3),
        sockets=True,
    ),
}
