"""
C{[management]}: the token, and where it is required.
"""

from __future__ import annotations

from pathlib import Path

from alacrity.config import (
    ConfigurationError,
    ManagementSettings,
    Settings,
    override,
    parse,
    require_token,
)
from tests.support.management_caller import TOKEN
from tests.support.token_files import DirectoryTestCase, token_file


class ConfigurationTests(DirectoryTestCase):
    """
    C{[management] token_file} and C{insecure}.
    """

    def test_taken(self) -> None:
        """
        The path is as seen from the configuration file.
        """
        path = token_file(TOKEN)
        text = '[management]\ntoken_file = "token"\ninsecure = true'
        for name in ("a.toml", str(path.parent / "a.toml")):
            management = parse(text, name).management
            self.assertEqual((management.token_file, management.insecure), (path, True))

    def test_faults(self) -> None:
        """
        One line, with the file and what is wrong with it.
        """
        token_file(TOKEN, 0o644)
        for text, fault in (
            (
                'token_file = "token"',
                (
                    "token_file: found 'token', a file of mode 0644, which others may use; "
                    "allowed: a mode such as 0600 or 0640 (chmod 600)"
                ),
            ),
            (
                'token_file = "none"',
                (
                    "token_file: found 'none', a file that cannot be read (No such file or "
                    "directory); allowed: a file"
                ),
            ),
            ("token_file = 1", "token_file: found 1; allowed: the path of a file"),
            ('token_file = ""', "token_file: found ''; allowed: the path of a file"),
            ('token_file = "\\u0000"', "token_file: found '\\x00'; allowed: the path of a file"),
            ("insecure = 1", "insecure: found 1; allowed: true or false"),
        ):
            with self.assertRaises(ConfigurationError, msg=text) as caught:
                parse(f"[management]\n{text}", "a.toml")
            self.assertEqual(str(caught.exception), f"a.toml: management.{fault}")

    def test_required(self) -> None:
        """
        Beyond this machine, a token is required, or the waiver.
        """
        allowed = (
            "an address such as tcp:8687:interface=127.0.0.1 or unix:/run/alacrity, or "
            "management.token_file, or management.insecure = true"
        )
        here = "tcp:1:interface=127.0.0.1"
        settings = Settings(management=ManagementSettings((here, "tcp:1")))
        with self.assertRaises(ConfigurationError) as caught:
            require_token(settings, name="a.toml")
        self.assertEqual(
            str(caught.exception),
            "a.toml: management.listen[1]: found 'tcp:1', which others may reach, and no token; "
            f"allowed: {allowed}",
        )
        with self.assertRaises(ConfigurationError) as caught:
            require_token(override(Settings(), management=["tcp:2"]), options=True)
        self.assertEqual(
            str(caught.exception),
            "options: --management: found 'tcp:2', which others may reach, and no token; "
            f"allowed: {allowed}",
        )
        for management in (
            ManagementSettings(),
            ManagementSettings((here, "unix:a")),
            ManagementSettings(("tcp:1",), token_file=Path("token")),
            ManagementSettings(("tcp:1",), insecure=True),
        ):
            require_token(Settings(management=management))
        require_token(override(settings, management=[here]), options=True)
