"""
Tests for L{alacrity.node.cluster}.
"""

from __future__ import annotations

from pathlib import Path

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.members import Member
from alacrity.cluster.settings import NodeSettings
from alacrity.config import ClusterSettings, ConfigurationError, Settings, parse
from alacrity.config.health import SHORTEST_INTERVAL
from alacrity.config.readers import SHORTEST_TIMEOUT
from alacrity.node.cluster import SecretReloading, load_secrets, node_settings, require_secret
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
        self.assertEqual(load_secrets(settings.cluster), (b"x" * 32,))
        require_secret(Settings())
        self.assertEqual(load_secrets(Settings().cluster), (b"",))

    def test_reloaded(self) -> None:
        """
        The file is read again; if it cannot be used, nothing changes, and one line says why.
        """
        path = Path(self.mktemp()).absolute()
        used: list[tuple[bytes, ...]] = []

        def reload(settings: ClusterSettings) -> list[str]:
            with capturedLogs() as events:
                SecretReloading(settings, used.append).reload()
            return [formatEvent(event) for event in events]

        settings = ClusterSettings(secret_file=str(path))
        fault = "cannot be read again, and what it had before stays in use"
        [line] = reload(settings)
        self.assertIn(f"cluster.secret_file {fault}: {path}: No such file", line)
        path.write_text("n" * 32 + "\n" + "o" * 32 + "\n")
        path.chmod(0o604)
        [line] = reload(settings)
        self.assertIn(fault, line)
        self.assertEqual(used, [])
        path.chmod(0o600)
        [line] = reload(settings)
        self.assertIn("was read again: two secrets", line)
        path.write_text("n" * 32)
        [line] = reload(settings)
        self.assertIn("was read again: one secret", line)
        self.assertEqual(used, [(b"n" * 32, b"o" * 32), (b"n" * 32,)])
        self.assertEqual(reload(ClusterSettings()), [])
