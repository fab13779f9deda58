"""
The format of C{raft.log}: records, and the frames that contain them. There is no I/O here.

The file begins with a header: magic, version, the node's incarnation, a checksum.
Frames follow. Each contains the records of one write as a msgpack array, so that either all
of them count or none::

    marker      4 bytes
    number      4 bytes   1 for the first frame, and so on
    length      4 bytes   of the payload
    payload's   4 bytes   CRC-32
    header's    4 bytes   CRC-32 of the four fields above
    payload

Both checksums start from the checksum of the incarnation. So a client that does not know the
incarnation cannot make a command whose bytes look like a frame.

A frame is written when the one before is on disk. So an incomplete or wrong frame was not on
disk yet, if no whole frame follows it: it is B{torn}, and is dropped. If a whole frame follows,
the file is B{damaged}, and is not used. (Damage to the last frame looks the same as a torn
write.)
"""

from __future__ import annotations

from struct import Struct
from typing import Final, TypeAlias
from zlib import crc32

import msgspec

from alacrity.cluster.log.members import Member

FILE_VERSION: Final = 1
"""The version of the file. Only this version is written and read."""

_MAGIC: Final = b"alacrity raft\r\n\x1a"
_HEADER: Final = Struct(">16sH16sI")
_FRAME: Final = Struct(">4sIIII")
_MARKER: Final = b"\xfeFr\n"
_LONGEST: Final = (1 << 32) - 1

HEADER_SIZE: Final = _HEADER.size

LogEntry: TypeAlias = tuple[bytes, int, int]
"""An entry of the log: command, index, term, in PySyncObj's order."""


class Snapshot(msgspec.Struct, frozen=True, array_like=True, tag="snapshot"):
    """
    The state after an entry, which replaces all entries up to that one.

    @ivar state: the encoded state, opaque here.
    @ivar last_index: the index of the last entry in the snapshot.
    @ivar last_term: the term of that entry.
    @ivar members: the members after that entry.
    @ivar previous: the index and the term of the entry before the last one, which the engine
        keeps in the log; L{None}: the log begins with the last one.
    """

    state: bytes
    last_index: int
    last_term: int
    members: tuple[Member, ...]
    previous: tuple[int, int] | None = None

    @property
    def first_kept(self) -> int:
        """
        The index of the first entry that stays in the log after a compaction.
        """
        return self.last_index if self.previous is None else self.previous[0]


class Append(msgspec.Struct, frozen=True, array_like=True, tag="entry"):
    """
    An entry at the end of the log.
    """

    index: int
    term: int
    command: bytes


class TruncateFrom(msgspec.Struct, frozen=True, array_like=True, tag="truncate_from"):
    """
    The removal of the entry at an index, and of all after it.
    """

    index: int


class TruncateTo(msgspec.Struct, frozen=True, array_like=True, tag="truncate_to"):
    """
    The removal of the entries before an index.
    """

    index: int


class Term(msgspec.Struct, frozen=True, array_like=True, tag="term"):
    """
    The current term, and the node that this node voted for in it; L{None}: no vote.
    """

    term: int
    vote: str | None


class Commit(msgspec.Struct, frozen=True, array_like=True, tag="commit"):
    """
    The commit index.
    """

    index: int


class PeerIncarnation(msgspec.Struct, frozen=True, array_like=True, tag="peer"):
    """
    The incarnation of another node at the first contact; L{None}: it is forgotten.
    """

    name: str
    incarnation: str | None


Record: TypeAlias = Snapshot | Append | TruncateFrom | TruncateTo | Term | Commit | PeerIncarnation

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[Record])


class MalformedLog(Exception):
    """
    A log's file is damaged, or has an unknown version.

    @ivar offset: the offset of the fault in the file.
    """

    def __init__(self, offset: int, fault: str) -> None:
        super().__init__(fault)
        self.offset = offset


def encode_header(incarnation: str) -> bytes:
    """
    The header of a file.

    @param incarnation: 32 hexadecimal digits.
    """
    fields = _MAGIC.ljust(16, b"\0"), FILE_VERSION, bytes.fromhex(incarnation)
    return _HEADER.pack(*fields, crc32(_HEADER.pack(*fields, 0)[:-4]))


def encode_frame(incarnation: str, number: int, records: list[Record]) -> bytes:
    """
    Encode a frame of the file.

    @raise OverflowError: the frame is 4 GiB or longer.
    """
    return bytes(append_frame(bytearray(), incarnation, number, records))


def append_frame(
    content: bytearray, incarnation: str, number: int, records: list[Record]
) -> bytearray:
    """
    Append a frame to a file's content, without a second copy of the payload, which may be long.

    @return: the content.
    @raise OverflowError: the frame is 4 GiB or longer.
    """
    start = len(content)
    at = start + _FRAME.size
    # Reserve the space at once: a full buffer would grow by half of its size each time.
    content.extend(bytes(_FRAME.size + sum(map(_size, records))))
    _encoder.encode_into(records, content, at)
    length = len(content) - at
    if length > _LONGEST:
        raise OverflowError(f"{length} bytes do not fit in a frame")
    seed = _seed(incarnation)
    with memoryview(content) as view, view[at:] as payload:
        checksum = crc32(payload, seed)
    fields = _MARKER, number, length, checksum
    own = crc32(_FRAME.pack(*fields, 0)[:-4], seed)
    _FRAME.pack_into(content, start, *fields, own)
    return content


def _size(record: Record) -> int:
    """
    An upper estimate of a record's size in bytes.
    """
    match record:
        case Snapshot():
            return len(record.state) + 64 + 512 * len(record.members)
        case Append():
            return len(record.command) + 32
        case _:
            return 512


class ParsedLog(msgspec.Struct):
    """
    The records of a file.

    @ivar frames: the records of each frame, with the offset where the frame begins.
    @ivar torn: the offset at which a torn frame was dropped; L{None}: none was.
    """

    incarnation: str
    frames: list[tuple[int, list[Record]]]
    torn: int | None = None


def parse_log(content: bytes) -> ParsedLog:
    """
    Read the content of a file.

    @raise MalformedLog: the file is damaged, or no log of this version.
    """
    incarnation = _incarnation(content)
    seed = _seed(incarnation)
    frames: list[tuple[int, list[Record]]] = []
    at = HEADER_SIZE
    while at < len(content):
        number = len(frames) + 1
        payload = _payload(content, at, seed)
        if payload is None or payload[0] != number:
            later = _find_frame(content, at + 1, seed)
            # A file gets its name when its first frame is on disk: so that frame is not torn.
            if payload is not None or later is not None or not frames:
                raise MalformedLog(at, f"frame {number} is not as it was written")
            return ParsedLog(incarnation, frames, torn=at)
        try:
            records = _decoder.decode(payload[1])
        except msgspec.MsgspecError as error:
            raise MalformedLog(at, f"frame {number} has the right checksum, but {error}") from error
        frames.append((at, records))
        at += _FRAME.size + len(payload[1])
    if not frames:
        raise MalformedLog(at, "it ends after its header")
    return ParsedLog(incarnation, frames)


def _incarnation(content: bytes) -> str:
    if len(content) < HEADER_SIZE:
        raise MalformedLog(0, "the header is cut off")
    magic, version, incarnation, checksum = _HEADER.unpack_from(content)
    if magic != _MAGIC.ljust(16, b"\0"):
        raise MalformedLog(0, "it does not begin as a log does")
    if checksum != crc32(content[: HEADER_SIZE - 4]):
        raise MalformedLog(0, "the header is not as it was written")
    if version != FILE_VERSION:
        raise MalformedLog(0, f"it has version {version}; known here: {FILE_VERSION}")
    return str(incarnation.hex())


def _seed(incarnation: str) -> int:
    return crc32(bytes.fromhex(incarnation))


def _payload(content: bytes, at: int, seed: int) -> tuple[int, bytes] | None:
    """
    The number and the payload of the frame at an offset; L{None}: there is no whole frame.
    """
    start = at + _FRAME.size
    if start > len(content):
        return None
    marker, number, length, checksum, own = _FRAME.unpack_from(content, at)
    if marker != _MARKER or own != crc32(content[at : start - 4], seed):
        return None
    payload = content[start : start + length]
    if len(payload) != length or checksum != crc32(payload, seed):
        return None
    return number, payload


def _find_frame(content: bytes, start: int, seed: int) -> int | None:
    """
    The offset of the next whole frame, searched byte by byte; L{None}: there is none.
    """
    while (start := content.find(_MARKER, start)) >= 0:
        if _payload(content, start, seed) is not None:
            return start
        start += 1
    return None
