"""
L{alacrity.cluster.wire.handshake}: nodes that prove who they are, and others that cannot.
"""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.wire.frames import LONGEST_HANDSHAKE, FrameError
from alacrity.cluster.wire.handshake import (
    AdmissionCheck,
    Handshake,
    Identity,
    Session,
    _decode,
    _Statement,
    initiate,
    respond,
)
from alacrity.cluster.wire.keys import EncryptedCover
from alacrity.cluster.wire.openings import VERSIONS, HandshakeRefused, Versions

SECRET = b"s" * 32
A = Identity("a", "aa" * 16)
B = Identity("b", "bb" * 16, (7, 1 << 40))


def everybody(peer: Identity) -> str | None:
    return None


class Side:
    """
    One side of a handshake, and its result.
    """

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self.session: Session | None = None
        self.refused: str | None = None
        self.said: list[bytes] = []
        opening = next(handshake)
        if opening:
            self.said.append(opening)

    def hear(self, body: bytes) -> None:
        if self.session is not None or self.refused is not None:
            return
        try:
            self.said.append(self._handshake.send(body))
        except StopIteration as stop:
            self.session = stop.value
            assert self.session is not None
            if self.session.answer:
                self.said.append(self.session.answer)
        except HandshakeRefused as refused:
            self.refused = str(refused)
            if refused.answer is not None:
                self.said.append(refused.answer)


def initiator(
    secret: bytes = SECRET,
    me: Identity = B,
    target: str = "a",
    accept: AdmissionCheck = everybody,
    nonce: bytes = b"1" * 32,
    versions: Versions = VERSIONS,
) -> Side:
    return Side(initiate(secret, me, target, accept, nonce, versions))


def responder(
    secret: bytes = SECRET,
    me: Identity = A,
    accept: AdmissionCheck = everybody,
    nonce: bytes = b"2" * 32,
    versions: Versions = VERSIONS,
    secrets: tuple[bytes, ...] = (),
) -> Side:
    return Side(respond(secrets or (secret,), me, accept, nonce, versions))


def talk(left: Side, right: Side) -> list[bytes]:
    """
    Pass the frames of two sides on to each other until both are done.

    @return: all frames, in order.
    """
    said = []
    heard = {left: 0, right: 0}
    going = True
    while going:
        going = False
        for speaker, listener in ((left, right), (right, left)):
            while heard[listener] < len(speaker.said):
                body = speaker.said[heard[listener]]
                heard[listener] += 1
                said.append(body)
                listener.hear(body)
                going = True
    return said


class HandshakeTests(SynchronousTestCase):
    def fails(self, left: Side, right: Side, left_says: str | None, right_says: str | None) -> None:
        talk(left, right)
        self.assertEqual((left.session, right.session), (None, None))
        self.assertEqual((left.refused, right.refused), (left_says, right_says))

    def test_agreed(self) -> None:
        """
        Both sides know each other, and the key that one sends with is the one that the
        other receives with.
        """
        left, right = initiator(), responder()
        said = talk(left, right)
        assert left.session is not None
        assert right.session is not None
        self.assertEqual((left.session.peer, right.session.peer), (A, B))
        self.assertEqual(left.session.send_key, right.session.receive_key)
        self.assertEqual(left.session.receive_key, right.session.send_key)
        self.assertNotEqual(left.session.send_key, left.session.receive_key)
        self.assertEqual(len(said), 5)
        self.assertNotIn(SECRET, b"".join(said))

    def test_session_is_shown_without_its_keys(self) -> None:
        right = responder()
        talk(initiator(), right)
        self.assertEqual(repr(right.session), "<Session with b: version 4>")

    def test_keys_are_of_one_connection(self) -> None:
        keys = set()
        for nonce in (b"2" * 32, b"3" * 32):
            right = responder(nonce=nonce)
            talk(initiator(), right)
            assert right.session is not None
            keys |= {right.session.send_key, right.session.receive_key}
        self.assertEqual(len(keys), 4)

    def test_longest_names_fit(self) -> None:
        me, other = Identity("\u00e9" * 127, "00" * 16), Identity("x" * 255, "11" * 16)
        left, right = initiator(me=me, target=other.name), responder(me=other)
        said = talk(left, right)
        self.assertIsNotNone(right.session)
        self.assertLessEqual(max(map(len, said)), LONGEST_HANDSHAKE)

    def test_other_secret(self) -> None:
        self.fails(
            initiator(secret=b"t" * 32),
            responder(),
            "it refuses: 'it has another secret'",
            "it has another secret",
        )

    def test_not_accepted(self) -> None:
        """
        Each side may refuse, and the other is told why.
        """
        self.fails(initiator(), responder(accept=lambda peer: "no"), "it refuses: 'no'", "no")
        self.fails(initiator(accept=lambda peer: "no"), responder(), "no", "it refuses: 'no'")

    def test_accept_hears_of_proven_peers_only(self) -> None:
        heard: list[Identity] = []
        talk(initiator(secret=b"t" * 32), responder(accept=heard.append))
        self.assertEqual(heard, [])
        talk(initiator(accept=heard.append), responder(accept=heard.append))
        self.assertEqual(heard, [B, A])

    def test_other_target(self) -> None:
        reason = "it wants to connect to 'c', but this node is 'a'"
        self.fails(initiator(target="c"), responder(), f'it refuses: "{reason}"', reason)

    def test_same_name(self) -> None:
        left = initiator(me=Identity("a", "cc" * 16), target="a")
        reason = "it has the name of this node, 'a', too"
        self.fails(left, responder(), f'it refuses: "{reason}"', reason)

    def test_what_is_not_told_in_older_versions(self) -> None:
        """
        Version 1 has no seat, and versions before 3 have no format: the oldest is assumed.
        """
        told = {
            1: msgspec.structs.replace(B, seat=(0, 0), format=1),
            2: msgspec.structs.replace(B, format=1),
            3: B,
            4: B,
        }
        for version, peer in told.items():
            left, right = initiator(), responder(versions=(1, version))
            talk(left, right)
            assert left.session is not None
            assert right.session is not None
            self.assertEqual((left.session.version, right.session.version), (version, version))
            self.assertEqual(right.session.peer, peer)

    def test_versions(self) -> None:
        """
        The highest common version is spoken; without one, both sides refuse.
        """
        left, right = initiator(versions=(1, 4)), responder(versions=(2, 2))
        talk(left, right)
        assert left.session is not None
        assert right.session is not None
        self.assertEqual((left.session.version, right.session.version), (2, 2))
        reason = "it speaks versions 3 to 4, and this node 1 to 2: none in common"
        self.fails(
            initiator(versions=(3, 4)),
            responder(versions=(1, 2)),
            f"it refuses: '{reason}'",
            reason,
        )

    def test_downgrade(self) -> None:
        """
        An attacker on the way cannot make them speak an older version.
        """
        left, right = initiator(versions=(1, 2)), responder(versions=(1, 2))
        opening = left.said[0].replace(b"\0\1\0\2", b"\0\1\0\1")
        self.assertNotEqual(opening, left.said[0])
        right.hear(opening)
        left.hear(right.said[0])
        right.hear(left.said[1])
        self.assertEqual(right.refused, "it has another secret")

    def test_replay(self) -> None:
        """
        The frames of an earlier handshake, sent again.
        """
        left = initiator()
        talk(left, responder())
        right = responder(nonce=b"3" * 32)
        for body in left.said:
            right.hear(body)
        self.assertIsNone(right.session)
        self.assertEqual(right.refused, "it has another secret")
        right = responder()
        talk(initiator(), right)
        left = initiator(nonce=b"4" * 32)
        for body in right.said:
            left.hear(body)
        self.assertIsNone(left.session)

    def test_reflection(self) -> None:
        """
        A node's own frames, sent back to it directly or through its other role.
        """
        left = initiator()
        left.hear(left.said[0])
        self.assertEqual(left.refused, "it does not speak this protocol")
        left, right = initiator(), responder(me=B)
        talk(left, right)
        self.assertEqual(right.refused, "it wants to connect to 'a', but this node is 'b'")
        left, right = initiator(), responder()
        right.hear(left.said[0])
        left.hear(right.said[0])
        left.hear(left.said[1])
        self.assertIsNone(left.session)
        self.assertEqual(left.refused, "it has another secret")

    @given(st.integers(0, 4), st.integers(0, 5000))
    def test_flipped_bit(self, which: int, bit: int) -> None:
        """
        With a wrong bit anywhere, the handshake fails on at least one side, and on the side
        that received the bit.
        """
        left, right = initiator(), responder()
        sides = [(left, right), (right, left)]
        for n in range(5):
            speaker, listener = sides[n % 2]
            if len(speaker.said) <= n // 2:
                break
            body = bytearray(speaker.said[n // 2])
            if n == which:
                at = bit % (len(body) * 8)
                body[at // 8] ^= 1 << at % 8
            listener.hear(bytes(body))
        self.assertIsNone(right.session)
        if which < 4:
            self.assertIsNone(left.session)

    @given(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
    def test_garbage(self, bodies: list[bytes]) -> None:
        for side in (initiator(), responder()):
            for body in bodies:
                side.hear(body)
            self.assertIsNone(side.session)
            self.assertIsNotNone(side.refused)

    def test_long_refusal(self) -> None:
        """
        The other side's reason is quoted: cut off, and without line ends.
        """
        side = initiator()
        side.hear(b"X" + b"\n\xff\x1b[2J" * 1000)
        assert side.refused is not None
        self.assertTrue(side.refused.isprintable())
        self.assertLess(len(side.refused), 3000)


class EncryptedTests(SynchronousTestCase):
    """
    What version 4 adds.
    """

    def test_who_is_encrypted(self) -> None:
        """
        Names and incarnations can be read up to version 3, and not in version 4.
        """
        me, other = Identity("node-of-mine", "12" * 16), Identity("node-of-yours", "34" * 16)
        for version in (3, 4):
            right = responder(me=other, versions=(1, version))
            said = b"".join(talk(initiator(me=me, target=other.name), right))
            self.assertIsNotNone(right.session)
            for text in (b"node-of-mine", b"node-of-yours", b"\x12" * 16, b"12" * 16):
                self.assertNotIn(text, said if version == 4 else b"")
            self.assertEqual(b"node-of-mine" in said, version == 3)

    def test_refusals_are_encrypted(self) -> None:
        """
        A reason that may have names in it is for the other side alone.
        """
        left, right = initiator(target="c"), responder()
        said = b"".join(talk(left, right))
        self.assertIn("it wants to connect to 'c'", str(left.refused))
        self.assertNotIn(b"connect", said)

    def test_forward_secrecy(self) -> None:
        """
        The keys depend on the ephemeral keys: the same secret and bytes on the network are not
        enough for them.
        """
        right = responder()
        said = talk(initiator(), right)
        assert right.session is not None
        openings = said[0] + said[1]
        guessed = EncryptedCover(SECRET, bytes(32), openings, initiates=True)
        self.assertNotEqual(
            guessed.session_keys(b"".join(said[:4])),
            (right.session.receive_key, right.session.send_key),
        )
        self.assertRaises(FrameError, guessed.uncover, said[3])

    def test_no_older_version_can_be_forced(self) -> None:
        """
        Whatever versions an attacker on the way writes into the openings, the handshake fails.
        """
        for high_there in range(4):
            for high_back in (*range(4), 4):
                left, right = initiator(), responder()
                right.hear(_with_versions(left.said[0], (1, high_there)))
                if right.refused is None:
                    left.hear(_with_versions(right.said[0], (1, high_back)))
                for n in (1, 2):
                    if len(left.said) > n and right.refused is None:
                        right.hear(left.said[n])
                    if len(right.said) > n and left.refused is None:
                        left.hear(right.said[n])
                self.assertEqual((left.session, right.session), (None, None))

    def test_older_versions_are_refused(self) -> None:
        """
        A node that speaks no older version any more says so, whichever side connects.
        """
        reason = (
            "it speaks versions 1 to 3 of the protocol, which do not encrypt, and this cluster "
            "does not speak them any more: upgrade its program"
        )
        left, right = initiator(versions=(1, 3)), responder(versions=(4, 4))
        talk(left, right)
        self.assertEqual((left.refused, right.refused), (f"it refuses: {reason!a}", reason))
        left, right = initiator(versions=(4, 4)), responder(versions=(1, 3))
        talk(left, right)
        self.assertEqual((left.session, right.session), (None, None))
        # An attacker who answers for the other side.
        left, right = initiator(versions=(4, 4)), responder(versions=(1, 4))
        right.hear(left.said[0])
        left.hear(_with_versions(right.said[0], (1, 3)))
        self.assertEqual(left.refused, reason)

    def test_predictable_key(self) -> None:
        """
        Ephemeral keys that make the common bytes predictable are refused (RFC 7748 6.1).
        """
        for point in (bytes(32), b"\1" + bytes(31), ((1 << 255) - 19).to_bytes(32, "little")):
            left, right = initiator(), responder()
            right.hear(left.said[0][:-32] + point)
            right.hear(b"E" + bytes(100))
            self.assertEqual(right.refused, "it does not speak this protocol")
            left.hear(responder_opening(left)[:-32] + point)
            self.assertEqual(left.refused, "it does not speak this protocol")

    def test_later_programs_may_tell_more(self) -> None:
        """
        Members of a statement that are not known are ignored.
        """
        told = msgspec.to_builtins(_Statement(A, "b"))
        told["me"]["cluster"] = told["more"] = "0" * 32
        self.assertEqual(_decode(msgspec.msgpack.encode(told)), _Statement(A, "b"))

    def test_malformed_statement(self) -> None:
        """
        A statement that is not valid, of a node that has the secret.
        """
        for incarnation in ("", "xx", "ab" * 15, "z" * 32):
            left, right = initiator(me=Identity("b", incarnation)), responder()
            talk(left, right)
            self.assertEqual(
                right.refused, "it does not speak this protocol, though it has the secret"
            )

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_hostile_network(self, data: st.DataObject) -> None:
        """
        An attacker who delivers, changes, swaps, repeats and invents frames: a side that
        finishes has heard just the frames that the other has sent, and has the same keys.
        """
        left, right = initiator(), responder()
        heard: dict[Side, list[bytes]] = {left: [], right: []}
        turn = [(left, right), (right, left)]
        for _ in range(data.draw(st.integers(1, 10))):
            speaker, listener = turn.pop(0)
            turn.append((speaker, listener))
            attack = data.draw(st.sampled_from(["", "", "", "flip", "cut", "other", "random"]))
            known = [*left.said, *right.said]
            next_body = speaker.said[len(heard[listener]) :][:1]
            body = next_body[0] if next_body else data.draw(st.sampled_from(known))
            if attack == "flip":
                at = data.draw(st.integers(0, 8 * len(body) - 1))
                changed = bytearray(body)
                changed[at // 8] ^= 1 << at % 8
                body = bytes(changed)
            elif attack == "cut":
                body = body[: data.draw(st.integers(0, len(body)))]
            elif attack == "other":
                body = data.draw(st.sampled_from(known))
            elif attack == "random":
                body = data.draw(st.binary(max_size=120))
            if listener.session is None and listener.refused is None:
                heard[listener].append(body)
            listener.hear(body)
        for side, other, peer in ((left, right, A), (right, left, B)):
            if side.session is not None:
                self.assertEqual(side.session.peer, peer)
                self.assertEqual(heard[side], other.said[: len(heard[side])])
        if left.session is not None and right.session is not None:
            self.assertEqual(left.session.send_key, right.session.receive_key)
            self.assertEqual(right.session.send_key, left.session.receive_key)


class SecretsTests(SynchronousTestCase):
    """
    Two secrets, while the cluster's secret is being changed.
    """

    OLD, NEW = b"o" * 32, b"n" * 32

    def test_steps(self) -> None:
        """
        In each two neighbouring steps of the change, each node can connect to each. The
        initiator's first secret is the one that counts.
        """
        old, new = self.OLD, self.NEW
        steps = [(old,), (old, new), (new, old), (new,)]
        for one, other in pairwise(steps):
            for mine, theirs in ((one, other), (other, one), (one, one), (other, other)):
                for version in (3, 4):
                    left = initiator(secret=mine[0], versions=(1, version))
                    right = responder(secrets=theirs)
                    talk(left, right)
                    assert left.session is not None
                    assert right.session is not None
                    self.assertEqual(left.session.secret, mine[0])
                    self.assertEqual(right.session.secret, mine[0])
                    self.assertEqual(left.session.send_key, right.session.receive_key)

    def test_neither(self) -> None:
        left, right = initiator(), responder(secrets=(self.OLD, self.NEW))
        talk(left, right)
        self.assertEqual(right.refused, "it has another secret")


def _with_versions(opening: bytes, versions: Versions) -> bytes:
    """
    An opening with other versions in it.
    """
    return opening[:9] + b"".join(each.to_bytes(2) for each in versions) + opening[13:]


def responder_opening(left: Side) -> bytes:
    """
    The opening of a responder that hears an initiator.
    """
    right = responder()
    right.hear(left.said[0])
    return right.said[0]
