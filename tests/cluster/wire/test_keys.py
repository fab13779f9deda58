"""
L{alacrity.cluster.wire.keys}: what the keys depend on.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.wire.encryption import NumberedCipher
from alacrity.cluster.wire.frames import FrameError
from alacrity.cluster.wire.keys import EncryptedCover, EphemeralKey, PlainCover

SECRET, SHARED, OPENINGS = b"s" * 32, b"d" * 32, b"both openings"


class EphemeralKeyTests(SynchronousTestCase):
    """
    L{EphemeralKey}.
    """

    def test_rfc(self) -> None:
        """
        The example of RFC 7748 6.1.
        """
        alice, bob = (
            EphemeralKey(bytes.fromhex(private))
            for private in (
                "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
                "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            )
        )
        self.assertEqual(
            [each.public.hex() for each in (alice, bob)],
            [
                "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
                "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
            ],
        )
        shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
        self.assertEqual(alice.shared_with(bob.public).hex(), shared)
        self.assertEqual(bob.shared_with(alice.public).hex(), shared)

    def test_predictable(self) -> None:
        self.assertRaises(ValueError, EphemeralKey(b"r" * 32).shared_with, bytes(32))


class CoverTests(SynchronousTestCase):
    """
    L{EncryptedCover}, by what it is told.
    """

    def test_both_sides(self) -> None:
        one = EncryptedCover(SECRET, SHARED, OPENINGS, initiates=True)
        two = EncryptedCover(SECRET, SHARED, OPENINGS, initiates=False)
        for _ in range(3):
            self.assertEqual(two.uncover(one.cover(b"there")), b"there")
            self.assertEqual(one.uncover(two.cover(b"and back")), b"and back")
        self.assertEqual(one.session_keys(b"all"), two.session_keys(b"all"))

    def test_all_counts(self) -> None:
        """
        With another secret, another common part or other openings, with which only one side
        was made to reckon, nothing can be read.
        """
        sent = EncryptedCover(SECRET, SHARED, OPENINGS, initiates=True).cover(b"names")
        for secret, shared, openings in (
            (b"t" * 32, SHARED, OPENINGS),
            (SECRET, b"e" * 32, OPENINGS),
            (SECRET, SHARED, b"other openings"),
        ):
            other = EncryptedCover(secret, shared, openings, initiates=False)
            self.assertRaises(FrameError, other.uncover, sent)

    def test_own_frame(self) -> None:
        one = EncryptedCover(SECRET, SHARED, OPENINGS, initiates=True)
        again = EncryptedCover(SECRET, SHARED, OPENINGS, initiates=True)
        self.assertRaises(FrameError, again.uncover, one.cover(b"names"))

    def test_not_encrypted(self) -> None:
        cover = EncryptedCover(SECRET, SHARED, OPENINGS, initiates=True)
        for body in (b"", b"names", b"E", b"X no"):
            self.assertRaises(FrameError, cover.uncover, body)

    def test_keys(self) -> None:
        """
        All keys differ, and are those of HKDF (RFC 5869), written out.
        """

        def hkdf(salt: bytes, label: bytes) -> bytes:
            extracted = hmac.digest(sha256(salt).digest(), SHARED + SECRET, "sha256")
            return hmac.digest(extracted, b"alacrity cluster 4 " + label + b"\1", "sha256")

        cover = EncryptedCover(SECRET, SHARED, OPENINGS, initiates=True)
        keys = cover.session_keys(b"all")
        self.assertEqual(keys, (hkdf(b"all", b"frames I"), hkdf(b"all", b"frames R")))
        more = cover.session_keys(b"something else")
        handshake = hkdf(OPENINGS, b"handshake I"), hkdf(OPENINGS, b"handshake R")
        self.assertEqual(len({*keys, *more, *handshake}), 6)
        expected = NumberedCipher(handshake[0]).encrypt(b"names", b"E")
        self.assertEqual(cover.cover(b"names"), b"E" + expected)

    def test_plain(self) -> None:
        """
        Up to version 3, bodies are sent as they are, and keys depend on secret and bytes.
        """
        cover = PlainCover(SECRET)
        self.assertEqual(cover.uncover(cover.cover(b"names")), b"names")
        keys = {
            *PlainCover(SECRET).session_keys(b"all"),
            *PlainCover(SECRET).session_keys(b"other"),
            *PlainCover(b"t" * 32).session_keys(b"all"),
        }
        self.assertEqual(len(keys), 6)
