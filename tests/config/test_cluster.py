"""
C{[cluster]}: its keys, and every fault in them.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import (
    ClusterSettings,
    ConfigurationError,
    Settings,
    load,
    parse,
)
from alacrity.net.addresses import NodeAddress

LOCAL = 'listen = ["tcp:8688:interface=127.0.0.1"]'
OPEN = 'listen = ["tcp:8688"]\nsecret_file = "secret"'


def cluster(text: str) -> ClusterSettings:
    return parse(f"[cluster]\n{text}").cluster


class ClusterTests(SynchronousTestCase):
    def test_alone(self) -> None:
        """
        Without the table, or with an empty one.
        """
        for settings in (Settings(), parse(""), parse("[cluster]")):
            self.assertEqual(settings.cluster, ClusterSettings())
            self.assertEqual(settings.cluster.me, NodeAddress("standalone", ""))
            self.assertTrue(settings.cluster.fsync)
            self.assertEqual(settings.cluster.serve, "all")
        self.assertEqual(cluster('name = "n1"').me, NodeAddress("n1", ""))
        self.assertFalse(cluster("fsync = false").fsync)

    def test_whole(self) -> None:
        """
        All keys, from a file.
        """
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        path = Path(temporary.name) / "alacrity.toml"
        path.write_text(
            """
            [cluster]
            listen = ["tcp:8688"]
            advertise = "Proxy-1.example.org:8688"
            name = "one"
            members = [
                "one=proxy-1.example.org:8688",
                "proxy-2.example.org:8688",
                "three=[2001:DB8::3]:8688",
            ]
            secret_file = "/etc/alacrity/secret"
            serve = "leader"
            fsync = false
            """
        )
        self.assertEqual(
            load(path).cluster,
            ClusterSettings(
                listen=("tcp:8688",),
                advertise="proxy-1.example.org:8688",
                name="one",
                members=(
                    NodeAddress("one", "proxy-1.example.org:8688"),
                    NodeAddress("proxy-2.example.org:8688", "proxy-2.example.org:8688"),
                    NodeAddress("three", "[2001:db8::3]:8688"),
                ),
                secret_file="/etc/alacrity/secret",
                serve="leader",
                fsync=False,
            ),
        )

    def test_derived(self) -> None:
        """
        A node that listens at one address is reached there, and has that name.
        """
        for listen, advertise in {
            "tcp:8688:interface=127.0.0.1": "127.0.0.1:8688",
            "tcp:port=8688:interface=127.0.0.1:backlog=5": "127.0.0.1:8688",
            "tcp:8688:127.0.0.1": "127.0.0.1:8688",
            "tcp:8688:interface=10.0.0.1": "10.0.0.1:8688",
            "tcp6:8688:interface=2001\\:DB8\\:\\:1": "[2001:db8::1]:8688",
            "tcp:8688:interface=\\:\\:1": "[::1]:8688",
        }.items():
            found = cluster(f"listen = ['{listen}']\nsecret_file = 's'")
            self.assertEqual(found.advertise, advertise)
            self.assertEqual(found.me, NodeAddress(advertise, advertise))

    def test_secret_is_not_needed_on_loopback(self) -> None:
        for listen in (
            "tcp:8688:interface=127.0.0.1",
            "tcp:8688:interface=127.9.9.9",
            "tcp:8688:interface=localhost",
            "tcp:8688:127.0.0.1",
            "tcp6:8688:interface=\\:\\:1",
            "unix:/run/alacrity",
        ):
            found = cluster(f"listen = ['{listen}']\nadvertise = 'a:1'")
            self.assertEqual(found.secret_file, "")

    def test_members_of_one(self) -> None:
        found = cluster(f'{LOCAL}\nmembers = ["127.0.0.1:8688"]')
        self.assertEqual(found.members, (found.me,))


class FaultTests(SynchronousTestCase):
    """
    Each is one line with file, key, what was found and what is allowed.
    """

    def fault(self, text: str) -> str:
        with self.assertRaises(ConfigurationError) as caught:
            cluster(text)
        message = str(caught.exception)
        self.assertNotIn("\n", message)
        self.assertTrue(message.startswith("configuration: cluster."), message)
        return message.removeprefix("configuration: cluster.")

    def test_types(self) -> None:
        address = "allowed: host:port, such as 10.0.0.1:8688 or [2001:db8::1]:8688"
        for text, message in {
            "port = 1": "port: found unknown; allowed: the keys listen, advertise, name, "
            "members, secret_file, serve, fsync",
            "listen = 1": "listen: found 1; allowed: an array of strings",
            "listen = []": "listen: found an empty array; allowed: at least one endpoint string",
            "advertise = 1": f"advertise: found 1; {address}",
            'advertise = "a"': f"advertise: found 'a'; {address}",
            'advertise = "a:0"': f"advertise: found 'a:0'; {address}",
            'advertise = ""': f"advertise: found ''; {address}",
            "name = 1": "name: found 1; allowed: 1 to 128 ASCII letters, digits and -._:[]",
            'name = "a b"': "name: found 'a b'; allowed: 1 to 128 ASCII letters, digits and -._:[]",
            'name = ""': "name: found ''; allowed: 1 to 128 ASCII letters, digits and -._:[]",
            "members = 1": "members: found 1; allowed: an array of strings",
            "members = [1]": "members: found [1]; allowed: an array of strings",
            "secret_file = 1": "secret_file: found 1; allowed: the name of a file",
            'secret_file = ""': "secret_file: found ''; allowed: the name of a file",
            'serve = "some"': "serve: found 'some'; allowed: one of all, leader",
            "fsync = 1": "fsync: found 1; allowed: true or false",
            'fsync = "no"': "fsync: found 'no'; allowed: true or false",
        }.items():
            self.assertEqual(self.fault(text), message)

    def test_listen(self) -> None:
        self.assertIn("listen[1]: found 'nonsense'; ", self.fault('listen = ["tcp:1", "nonsense"]'))

    def test_members(self) -> None:
        words = "host:port, such as 10.0.0.1:8688 or [2001:db8::1]:8688, or name=host:port"
        for member in ("a", "a=b", "a b=c:1", "=c:1", "a=", "a=b=c:1", "10.0.0.300:1", "::1:1"):
            self.assertIn(
                f"members[1]: found {member!r}; allowed: {words}",
                self.fault(f'{LOCAL}\nmembers = ["127.0.0.1:8688", "{member}"]'),
            )

    def test_twice(self) -> None:
        """
        A name or an address is there once, however it is spelt.
        """
        self.assertEqual(
            self.fault(f'{LOCAL}\nmembers = ["a=b:1", "a=c:1"]'),
            "members: found 2 with the name 'a'; allowed: one",
        )
        self.assertEqual(
            self.fault(f'{LOCAL}\nmembers = ["a=B:1", "b:1"]'),
            "members: found 2 with the address 'b:1'; allowed: one",
        )

    def test_this_node_is_missing(self) -> None:
        self.assertEqual(
            self.fault(f'{LOCAL}\nname = "n"\nmembers = ["a:1", "m=b:1"]'),
            "members: found ['a:1=a:1', 'm=b:1']; allowed: the nodes of a new cluster, "
            "this one among them: n=127.0.0.1:8688",
        )

    def test_this_node_is_another(self) -> None:
        for member in ("127.0.0.1:8688", "n=127.0.0.1:9", "m=127.0.0.1:8688"):
            name, _, address = member.rpartition("=")
            self.assertEqual(
                self.fault(f'{LOCAL}\nname = "n"\nmembers = ["{member}"]'),
                f"members: found {name or address}={address} for this node; allowed: what "
                f"cluster.name and cluster.advertise make it, n=127.0.0.1:8688",
            )

    def test_not_listening(self) -> None:
        self.assertEqual(
            self.fault('advertise = "a:1"'),
            "advertise: found 'a:1' without cluster.listen; allowed: only together with cluster.listen",
        )
        self.assertEqual(
            self.fault('members = ["a:1"]'),
            "members: found ['a:1'] without cluster.listen; allowed: only together with cluster.listen",
        )

    def test_no_secret(self) -> None:
        """
        Where other machines can connect, there must be a secret.
        """
        for listen in (
            "tcp:8688",
            "tcp:8688:interface=0.0.0.0",
            "tcp:8688:interface=10.0.0.1",
            "tcp6:8688",
            "tcp:8688:interface=\\:\\:",
        ):
            for more in ("", ', "tcp:8689:interface=127.0.0.1"'):
                message = self.fault(f"listen = ['{listen}'{more}]\nadvertise = 'a:1'")
                self.assertIn("secret_file: found nothing; allowed: a file made by", message)

    def test_not_derivable(self) -> None:
        for listen in (
            "'tcp:8688'",
            "'tcp6:8688'",
            "'tcp:8688:interface=0.0.0.0'",
            "'tcp:0:interface=127.0.0.1'",
            "'unix:/run/alacrity'",
            "'tcp:1:interface=127.0.0.1', 'tcp:2:interface=127.0.0.1'",
        ):
            message = self.fault(f"listen = [{listen}]\nsecret_file = 's'")
            self.assertIn("advertise: found nothing; allowed: host:port", message)

    @given(st.lists(st.text(st.characters(codec="ascii"), max_size=12), max_size=3), st.text())
    def test_any_text(self, members: list[str], name: str) -> None:
        """
        Any text makes settings, or a fault of one line.
        """
        text = f"{OPEN}\nmembers = {json.dumps(members)}\nadvertise = 'a:1'"
        text += f"\nname = {json.dumps(name)}"
        try:
            cluster(text)
        except ConfigurationError as error:
            self.assertNotIn("\n", str(error))
