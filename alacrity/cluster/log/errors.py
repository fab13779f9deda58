"""
Errors of the state directory and of the log in it.
"""

from __future__ import annotations


class StateError(Exception):
    """
    The state directory cannot be used. The message is one line, for an operator.
    """


class DamagedLog(StateError):
    """
    The log exists but cannot be read. A node must not vote if it does not know its earlier
    votes. The message is one line, and says what can be done.
    """
