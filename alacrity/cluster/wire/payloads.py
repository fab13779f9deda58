"""
The payload of a frame: a message of the engine in msgpack.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

encode_message: Final = msgspec.msgpack.Encoder().encode
"""Encodes a message as a payload."""


class MalformedMessage(Exception):
    """
    A payload is not a message.
    """


def _no_extensions(code: int, data: memoryview) -> object:
    raise ValueError(f"msgpack extensions are not allowed, such as type {code}")


_decoder: Final = msgspec.msgpack.Decoder(dict[str, Any], ext_hook=_no_extensions)


def decode_message(payload: bytes) -> dict[str, Any]:
    """
    The message in a payload.

    @raise MalformedMessage: the payload is not a message.
    """
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedMessage(str(error)) from error
