"""
Tests for L{alacrity.config.readers}: each returns a typed value, or a fault that names the
place.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any, Literal, get_type_hints

from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import ConfigurationError, Settings
from alacrity.config import readers as r
from alacrity.config.endpoints import endpoints
from alacrity.config.faults import Key
from alacrity.config.reading import readers_of
from alacrity.net.addresses import NodeAddress

KEY = Key("dir/a.toml", "table.key")


class ReaderTests(SynchronousTestCase):
    def test_values(self) -> None:
        """
        Values come with their types.
        """
        for read, value, expected in (
            (r.boolean, False, False),
            (r.count, 1, 1),
            (r.count_or_zero, 0, 0),
            (r.limit, 0, 0),
            (r.fraction, 1, 1.0),
            (r.duration(0.5), 86400, 86400.0),
            (r.duration_or_zero, 0, 0.0),
            (r.duration_or_never, 0, 0.0),
            (r.positive, 100, 100.0),
            (r.hash_bound, 1, 1.0),
            (r.whole_seconds, 31536000, 31536000),
            (r.statuses, [503, 400, 503], (503, 400)),
            (r.choices(Literal["a", "b"]), ["b", "a", "b"], ("b", "a")),
            (r.group_weights, {"blue-2": 0}, {"blue-2": 0}),
            (r.hash_key, "header:X-User", "header:X-User"),
            (r.hash_key, "cookie:user.id", "cookie:user.id"),
            (r.hash_key, "query:q[]", "query:q[]"),
            (r.cookie_name, "", ""),
            (r.cookie_domain, ".shop.example", ".shop.example"),
            (r.pseudonym, "edge-1", "edge-1"),
            (r.node_name, "[::1]:1", "[::1]:1"),
            (r.address, "[0::1]:080", "[::1]:80"),
            (r.file, "/a", "/a"),
            (endpoints, ["unix:a"], ("unix:a",)),
            (r.array(r.host_name), ["A."], ("a",)),
            (r.array(r.network), ["10.0.0.0/8"], (ip_network("10.0.0.0/8"),)),
            (r.nodes, ["a=B:1"], (NodeAddress("a", "b:1"),)),
        ):
            reader: Any = read
            found = reader(KEY, value)
            self.assertEqual((found, type(found)), (expected, type(expected)))

    def test_relative(self) -> None:
        """
        A relative path begins at the directory of the configuration file.
        """
        self.assertEqual(r.file(KEY, "b"), str(KEY.beside("b")))
        self.assertTrue(r.file(KEY, "b").endswith("/dir/b"))

    def test_faults(self) -> None:
        """
        A fault names the place, an item of an array by its number.
        """
        for read, value, fault in (
            (r.count, True, "table.key: found True; allowed: a whole number from 1"),
            (r.count, 1 << 31, "table.key: found 2147483648; allowed: a whole number from 1"),
            (r.statuses, ["503"], "table.key: found ['503']; allowed: an array of statuses from"),
            (r.statuses, [True], "table.key: found [True]; allowed: an array of statuses from 400"),
            (r.choices(Literal["a"]), ["a", "b"], "table.key: found 'b'; allowed: an array of a"),
            (r.choices(Literal["a"]), "a", "table.key: found 'a'; allowed: an array of strings"),
            (r.group_weights, {"": 1}, "table.key: found ''; allowed: names of 1 to 63 of a-z"),
            (r.group_weights, {"a": -1}, "table.key.a: found -1; allowed: a whole number from 0"),
            (r.hash_key, "host", "table.key: found 'host'; allowed: ip, path, header:NAME, "),
            (r.hash_key, "header:a b", "table.key: found 'header:a b'; allowed: ip, path, "),
            (r.cookie_domain, "a.example:80", "table.key: found 'a.example:80'; allowed: a domain"),
            (r.array(r.host_name), ["a", ""], "table.key[1]: found ''; allowed: a host name, "),
            (r.pseudonym, "x" * 99 + "\n", f"table.key: found '{'x' * 79}...; allowed: a token"),
        ):
            reader: Any = read
            error = self.assertRaises(ConfigurationError, reader, KEY, value)
            self.assertTrue(str(error).startswith(f"dir/a.toml: {fault}"), str(error))


class TableTests(SynchronousTestCase):
    """
    The tables, as they are declared.
    """

    def test_readers(self) -> None:
        """
        Each key of each table has a reader.
        """
        for kind in get_type_hints(Settings).values():
            readers = readers_of(kind)
            self.assertEqual(tuple(readers), kind.__struct_fields__)
            for key, read in readers.items():
                self.assertTrue(callable(read), key)
