"""
The commands of the README, C{docs/cluster.md} and C{docs/operations.md}, run as they are written, on
machines with the addresses that these pages name.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.processes import Process
from acceptance.lab.waiting import Broken, wait_until
from tests.support import machines as support
from tests.support.documents import Page, installed
from tests.support.machines import Machine, missing, network
from tests.support.places import ROOT

CONFIGURATION = "/etc/alacrity.toml"
UNIT = "/etc/systemd/system/alacrity.service"
HEALTH = "curl -fs http://127.0.0.1:8687/health"


def answers(machine: Machine, script: str, wanted: str) -> None:
    """
    Wait until lines succeed with a certain output.
    """

    def met() -> bool:
        try:
            return re.search(wanted, machine.run(script)) is not None
        except Broken:
            return False

    wait_until(met, f"{wanted!r} by {script!r} on {machine.name}", pause=0.3)


def stop(machine: Machine, process: Process, pattern: str) -> None:
    """
    End a command that runs in a machine's foreground, as Ctrl-C does.
    """
    machine.run(f"pkill -INT -f '{pattern}'")
    process.ended()


def members(count: int) -> str:
    """
    The pattern of C{GET /cluster} with a leader and so many members. Nodes that are no members
    may be in it, too.
    """
    return rf'"leader":"10.*"members":\[(?:{{"name":"10[^}}]*}},?){{{count}}}\]'


class DocumentTestCase(SynchronousTestCase):
    """
    A test case with machines.
    """

    skip = missing()

    def machines(self, *addresses: str) -> list[Machine]:
        """
        Machines that end with the test.
        """
        place = Path(self.mktemp()).absolute()
        place.mkdir()
        context = network(place, *addresses)
        machines = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return machines

    def all_used(self, page: Page, elsewhere: dict[str, str]) -> None:
        """
        See that a page has no block that was not run.

        @param elsewhere: the beginnings of blocks that are not run here, each with the reason.
        """
        left = page.unused()
        for beginning in elsewhere:
            self.assertTrue(any(each.startswith(beginning) for each in left), beginning)
        self.assertEqual([each for each in left if not each.startswith(tuple(elsewhere))], [])


class MachineTests(DocumentTestCase):
    """
    The machines.
    """

    def test_bounded(self) -> None:
        """
        One that is not made in time, and a command that does not end, fail the test with a line that
        says which it is.
        """
        (machine,) = self.machines("10.0.0.1")
        self.patch(support, "PATIENCE", 0.3)
        with self.assertRaisesRegex(
            Broken, r"10\.0\.0\.1 is not done with 'echo a; sleep 60':\na\n"
        ):
            machine.run("echo a; sleep 60")
        self.patch(support, "_SET_UP", "sleep 60")
        with self.assertRaisesRegex(Broken, r"the machine the network is not ready within 0\.3 s"):
            self.machines("10.0.0.2")


class ReadmeTests(DocumentTestCase):
    """
    The README.
    """

    def test_page(self) -> None:
        """
        A node starts, servers register with it, and get requests; three nodes form a cluster.
        """
        page = Page("README.md")
        here, other, third, servers = self.machines(
            "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9,10.0.0.7"
        )
        self.run_node(page, here, servers)
        self.run_cluster(page, here, other, third)
        self.all_used(
            page,
            {
                "python3 -m pip install tox": "takes 20 minutes, and runs this test",
                "python -m benchmarks.": "takes minutes, alone on the machine",
                "while :; do": "tests.system.test_node runs these lines, and looks at their pauses",
            },
        )

    def run_node(self, page: Page, here: Machine, servers: Machine) -> None:
        """
        Run what is on one node.
        """
        node = here.start(installed(page.block("python3 -m pip install . &&")))
        answers(here, HEALTH, "serving")
        tried = here.start(page.block("python3 -m alacrity.testserver"))
        node.expect(r"is up: status 200")
        self.assertIn('"name"', here.run(page.block("curl localhost:8080")))
        own = here.start(page.block("alacrity register"))
        node.expect(r"server 127\.0\.0\.1:8000 is up")
        stop(here, own, "alacrity register")
        self.assertNotIn(":8000", here.run("curl -fs localhost:8687/servers"))

        servers.start("python3 -m alacrity.testserver --host 10.0.0.7 --port 8080")
        answers(here, "curl -fs http://10.0.0.7:8080/health", "")
        registered = here.run(page.block("curl -i localhost:8687/servers"))
        head, _, body = registered.partition("\r\n\r\n")
        self.assertRegex(head, r"HTTP/1\.1 201 ")
        shown = json.loads(page.block('{"id": "10.0.0.7:8080"').replace(", …", ""))
        document = json.loads(body[body.index("{") :])
        self.assertEqual({key: document[key] for key in shown}, shown)
        node.expect(r"server 10\.0\.0\.7:8080 is up: status 200")
        calls = page.block("curl localhost:8687/servers ")
        said = here.run(calls.replace("curl ", "curl -fsS "))
        self.assertIn('"10.0.0.7:8080"', said)
        self.assertIn('"client":', said)
        self.assertNotIn("10.0.0.7", here.run("curl -fs localhost:8687/servers"))
        stop(here, tried, "alacrity.testserver")
        stop(here, node, "twistd -n alacrity")
        here.run("rm -r alacrity-state")

    def run_cluster(self, page: Page, *machines: Machine) -> None:
        """
        Run the section on three nodes.
        """
        first, *others = machines
        first.run(page.block("python3 -m alacrity.cluster.secret"))
        table = page.block("[management]")
        for machine in machines:
            machine.write(
                "alacrity.toml",
                re.sub(r'(advertise = )"[^"]+"', rf'\1"{machine.name}:8688"', table),
            )
            if machine in others:
                first.run(f"scp secret token {machine.name}:/opt/")
            machine.start(page.block("twistd -n alacrity --config alacrity.toml"))
        for machine in machines:
            answers(machine, HEALTH, "serving")
            answers(
                machine,
                f'curl -fs -H "Authorization: Bearer $(cat token)" http://{first.name}:8687/cluster',
                members(3),
            )


class AdministrationTests(DocumentTestCase):
    """
    C{docs/administration.md}.
    """

    def test_page(self) -> None:
        """
        The commands work in their order.
        """
        page = Page("docs/administration.md")
        here, servers = self.machines("10.0.0.1", "10.0.0.7")
        server = servers.start("python3 -m alacrity.testserver --host 10.0.0.7 --port 8080")
        server.expect("listens")
        node = here.start("twistd -n alacrity")
        answers(here, HEALTH, "serving")
        node.expect("all nodes understand commands of version 3")
        registration = """curl -fsS localhost:8687/servers -H 'Content-Type: application/json'"""
        here.run(f"""{registration} -d '{{"ip": "10.0.0.7", "port": 8080}}'""")
        # A verdict of the checks changes the version, too.
        up = 'until curl $A/servers/$ID | grep -q \'"state":"up"\'; do sleep 0.1; done'
        script = []
        for block in page.unused():
            if block == "curl -g":
                continue
            if block.startswith("V="):
                script.append(up)
            script.append(page.block(block))
        self.assertEqual(sum(each.count("curl") for each in script), 13)
        said = here.run("\n".join(script).replace("curl ", "curl -fsS "))
        self.assertEqual(said.count('{"drained":true,"in_flight":0}'), 2, said)
        self.assertIn('{"lease":30.0,"renew_after":10.0}', said)
        self.all_used(page, {"curl -g": "an option"})


class ClusterTests(DocumentTestCase):
    """
    The pages on the cluster and on operations, followed together: each refers to the other.
    """

    def test_pages(self) -> None:
        """
        A node is installed, and runs in each way; three form a cluster under systemd; one is added, removed
        and replaced; the majority is lost.
        """
        self.cluster, self.operations = Page("docs/cluster.md"), Page("docs/operations.md")
        *nodes, fourth, server = self.machines(
            *(f"10.0.0.{number}" for number in (1, 2, 3, 4)), "10.0.0.9"
        )
        for machine in (*nodes, fourth, server):
            self.install(machine)
        self.run_alone(server)
        self.begin(nodes, [fourth, server])
        self.serve(nodes, server)
        self.grow(nodes[0], fourth)
        self.keep_up(nodes)
        self.change_secret(nodes)
        self.lose_majority(nodes)
        self.simulate()
        self.all_used(
            self.cluster,
            {
                "with Story() as story": "tests.simulation.scripted has such scripts",
                "python -m benchmarks.": "takes minutes, alone on the machine",
                "kill -9": "no command to be given",
            },
        )
        self.all_used(
            self.operations,
            {
                "global_defs {": "acceptance.partitions runs keepalived with these lines",
                "server 10.0.0.7:8080 is up": "lines of the log; tests.health has each",
                "journalctl": "there is no systemd here",
                "kill -9": "no command to be given",
                "chattr": "no command to be given",
                "python -m acceptance.": "takes minutes, and needs more programs",
                "python -m benchmarks.": "takes minutes, alone on the machine",
            },
        )

    def install(self, machine: Machine) -> None:
        """
        Install a node, and its unit.
        """
        machine.run(f"ln -s {sys.prefix} /opt/alacrity")
        said = machine.run(installed(self.operations.block("python3 -m venv /opt/alacrity")))
        self.assertIn("configuration ok", said)
        machine.write(UNIT, self.operations.block("[Unit]") + "\n")

    def run_alone(self, machine: Machine) -> None:
        """
        Run a standalone node in each way.
        """
        page = self.operations
        if shutil.which("systemd-analyze"):
            self.assertNotIn("alacrity.service:", machine.run(f"systemd-analyze verify {UNIT}"))
        self.assertIn(
            "serving", machine.run(page.block("systemctl daemon-reload\nsystemctl enable"))
        )
        self.assertRegex(machine.run("ps -o user= -C twistd"), "alacrity")
        machine.run(page.block("systemctl restart alacrity"))
        answers(machine, HEALTH, "serving")
        machine.run("systemctl stop alacrity")
        machine.run("rm -rf /var/lib/alacrity")

        node = machine.start(page.block("twistd -n alacrity --config"))
        answers(machine, HEALTH, "serving")
        self.assertTrue(machine.file("alacrity-state/raft.log").exists())
        machine.run(page.block("ss -tp"))
        stop(machine, node, "twistd -n alacrity")
        node = machine.start(page.block("twist alacrity").replace("FILE", CONFIGURATION))
        answers(machine, HEALTH, "serving")
        stop(machine, node, "twist alacrity")
        node = machine.start(" ".join(json.loads(page.block("CMD [").removeprefix("CMD "))))
        answers(machine, HEALTH, "serving")
        stop(machine, node, "twistd -n alacrity")

        machine.run(page.block("install -d -o alacrity"))
        machine.run(HEALTH)
        rotation = page.block("/var/log/alacrity/*.log")
        script = re.search(r"postrotate\n(.*)\n *endscript", rotation, re.DOTALL)
        assert script is not None
        log = machine.file("/var/log/alacrity/twistd.log")
        log.rename(log.with_suffix(".1"))
        machine.run(script[1])
        wait_until(log.exists, "a new log")
        machine.run("pkill -F /run/alacrity/twistd.pid")
        wait_until(lambda: not machine.file("/run/alacrity/twistd.pid").exists(), "the end")
        machine.run("rm -rf /var/lib/alacrity")

    def begin(self, nodes: list[Machine], others: list[Machine]) -> None:
        """
        Begin the cluster.
        """
        page, first = self.cluster, nodes[0]
        making = page.block("python3 -m alacrity.cluster.secret /etc")
        first.run(making)
        for machine in others:
            # As the page says for the others.
            copy = next(line for line in making.splitlines() if line.startswith("scp"))
            first.run(copy.replace("10.0.0.2", machine.name))
        table = page.block("[management]")
        for machine in (*nodes, *others):
            machine.run(page.block("chown alacrity:"))
            own = re.sub(r'(advertise = )"[^"]+"', rf'\1"{machine.name}:8688"', table)
            if machine in others:
                own = re.sub(r"(?m)^members = .*\n", "", own)
            machine.write(CONFIGURATION, own + "\n")
        for machine in nodes:
            machine.run(page.block("systemctl enable --now alacrity"))
        ready = page.block("until curl -fsS http://10.0.0.1:8687/health")
        self.token = next(line for line in ready.splitlines() if line.startswith("AUTH"))
        self.assertEqual(self.operations.block("AUTH="), self.token)
        for machine in nodes:
            self.assertIn("serving", machine.run(ready))
            answers(machine, ready, members(3))

    def serve(self, nodes: list[Machine], machine: Machine) -> None:
        """
        Register a server with one node, and have a request go through another.
        """
        server = machine.start(self.cluster.block("python3 -m alacrity.testserver"))
        server.expect("registered with")
        self.assertIn('"name"', nodes[0].run(self.cluster.block("curl -fsS --retry 10")))

    def call(self, machine: Machine, script: str) -> str:
        """
        Run a call that has the token.
        """
        return machine.run(f"{self.token}\n{script}")

    def grow(self, first: Machine, fourth: Machine) -> None:
        """
        Add the fourth node in each way, and remove it.
        """
        page = self.cluster
        handover, removal = page.block(
            "curl -fsS -H \"$AUTH\" -H 'Content-Type: application/json' -d '{}'"
        ).splitlines()
        clear = "rm -rf /var/lib/alacrity/*"
        joining = page.block("twistd -n --pidfile= --uid=alacrity")

        node = fourth.start(joining)
        node.expect("this node, 10.0.0.4:8688, is in the cluster")
        self.call(first, handover)
        self.call(first, removal)
        stop(fourth, node, "twistd -n")
        fourth.run(clear)

        node = fourth.start(joining.replace("10.0.0.1:8687", "10.0.0.5:8687"))
        node.expect("cannot join the cluster through")
        by_hand = page.block(
            'curl -fsS -H "$AUTH" -H \'Content-Type: application/json\' -d \'{"address"'
        )
        self.assertIn("10.0.0.4:8688", self.call(first, by_hand))
        self.call(first, removal)
        stop(fourth, node, "twistd -n")
        fourth.run(clear)

        fourth.run(page.block("sed -i"))
        shown = 'curl -fs -H "$AUTH" http://10.0.0.1:8687/cluster'
        answers(first, f"{self.token}\n{shown}", members(4))
        self.call(first, removal)
        fourth.run("systemctl stop alacrity")

    def keep_up(self, nodes: list[Machine]) -> None:
        """
        Restart nodes, and replace one.
        """
        page, first, third = self.operations, nodes[0], nodes[2]
        self.call(first, page.block('curl -fsS -H "$AUTH" -H'))
        for machine in nodes:
            self.call(machine, page.block("systemctl restart alacrity\nuntil"))
        self.call(first, page.block('curl -fsS -H "$AUTH" -X DELETE'))
        third.run(page.block("systemctl stop alacrity\nrm"))
        answers(
            third,
            f'{self.token}\ncurl -fs -H "$AUTH" http://127.0.0.1:8687/cluster',
            members(3),
        )

    def change_secret(self, nodes: list[Machine]) -> None:
        """
        Change the cluster's secret while it runs.
        """
        page, secret = self.cluster, nodes[0].file("/etc/alacrity/secret")
        before = secret.read_text()
        nodes[0].run(page.block("python3 -m alacrity.cluster.secret --add"))
        for machine in nodes:
            machine.run("pkill -HUP twistd")
        for step in ("--swap", "--remove"):
            for machine in nodes:
                machine.run(page.block(f"python3 -m alacrity.cluster.secret {step}"))
        after = {machine.file("/etc/alacrity/secret").read_text() for machine in nodes}
        self.assertEqual(len(after), 1)
        self.assertNotIn(before, after)
        for machine in nodes:
            answers(
                machine,
                f'{self.token}\ncurl -fs -H "$AUTH" http://127.0.0.1:8687/cluster',
                members(3),
            )

    def lose_majority(self, nodes: list[Machine]) -> None:
        """
        Go on with one node.
        """
        stopping, forcing = self.operations.block("systemctl stop alacrity\ntwistd").splitlines()
        for machine in nodes:
            machine.run(stopping)
        node = nodes[0].start(forcing)
        node.expect("this node is now the only member of the cluster")
        answers(nodes[0], HEALTH, "serving")
        answers(nodes[0], "curl -fs http://127.0.0.1:8687/health/leader", "")
        stop(nodes[0], node, "twistd -n")
        nodes[0].run("systemctl start alacrity")
        answers(nodes[0], HEALTH, "serving")

    def simulate(self) -> None:
        """
        Look at the commands of the simulation, which take minutes: their options exist, and one is run.
        """
        lines = installed(self.cluster.block("python3 -m pip install -e")).splitlines()
        mutants = self.cluster.block("python -m tests.mutations").splitlines()
        self.assertEqual([len(lines), len(mutants)], [5, 4])
        for line in (*lines[1:], *mutants):
            self.assertRegex(line, r"^python -m tests\.(?:simulation|mutations)")
        (traced,) = (line for line in lines if "--trace" in line)
        machine = self.machines("10.0.0.1")[0]
        self.assertTrue(machine.run(traced, where=ROOT))
