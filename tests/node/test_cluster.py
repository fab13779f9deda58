"""
Tests for L{alacrity.node.cluster}.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.members import Member
from alacrity.cluster.settings import NodeSettings
from alacrity.config import ClusterSettings, ConfigurationError, Settings, parse
from alacrity.config.health import SHORTEST_INTERVAL
from alacrity.config.readers import SHORTEST_TIMEOUT
from alacrity.node.cluster import load_secret, node_settings, require_secret
from alacrity.pool import model


class SettingsTests(SynchronousTestCase):
    """
    The cluster's settings.
    """

    def test_made(self) -> None:
        """
        They are those of the configuration.
        """
        configured = parse(
            "[cluster]\nlisten = ['tcp:8688:interface=127.0.0.1']\nname = 'a'\nfsync = false\n"
            "members = ['a=127.0.0.1:8688', '127.0.0.2:8688']"
        ).cluster
        me = Member("a", "127.0.0.1:8688")
        self.assertEqual(
            node_settings(configured),
            NodeSettings(
                me,
                (me, Member("127.0.0.2:8688", "127.0.0.2:8688")),
                ("tcp:8688:interface=127.0.0.1",),
                fsync=False,
            ),
        )
        self.assertEqual(node_settings(ClusterSettings()), NodeSettings(Member("standalone", "")))


class BoundTests(SynchronousTestCase):
    """
    Bounds that the configuration has in common with the registration of servers.
    """

    def test_same(self) -> None:
        """
        A check may be as fast by the one as by the other.
        """
        self.assertEqual(
            (SHORTEST_INTERVAL, SHORTEST_TIMEOUT), (model.SHORTEST_INTERVAL, model.SHORTEST_TIMEOUT)
        )


class SecretTests(SynchronousTestCase):
    """
    The secret.
    """

    def test_secret(self) -> None:
        """
        The secret has to be there, to be long enough, and to be its owner's alone; a
        relative path is as seen from the configuration file.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        name = str(directory / "a.toml")
        settings = parse(
            "[cluster]\nlisten = ['tcp:8688']\nsecret_file = 'secret'\nadvertise = '10.0.0.1:8688'",
            name,
        )
        file = (directory / "secret").absolute()
        self.assertEqual(settings.cluster.secret_file, str(file))
        for content, mode, fault in (
            (None, 0, "No such file or directory"),
            ("x" * 40, 0o640, "its mode 0640 lets others use it; allowed: 0600 or 0400"),
            ("short", 0o600, "it has 5 bytes; allowed: 32 to 4096. "),
        ):
            if content is not None:
                file.write_text(content)
                file.chmod(mode)
            with self.assertRaises(ConfigurationError) as caught:
                require_secret(settings, name="a.toml")
            self.assertTrue(
                str(caught.exception).startswith(f"a.toml: cluster.secret_file: {file}: {fault}"),
                str(caught.exception),
            )
        file.write_text("x" * 32)
        require_secret(settings)
        self.assertEqual(load_secret(settings.cluster), b"x" * 32)
        require_secret(Settings())
