"""Ports for servers that are started a little later.

They lie below the range from which the system takes ports for outgoing connections: one that is free now is not given
to somebody's connection before the server that is meant for it has started.
"""

import os
import socket
from contextlib import ExitStack
from itertools import count

__all__ = ["free_port", "free_ports"]

_FIRST, _LAST = 20_000, 32_000
# processes that run side by side begin at different places
_turns = count(os.getpid() * 131)


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    return free_ports(0)


def free_ports(*offsets: int) -> int:
    """Return a base so that base + offset is free for each offset."""
    width = max(offsets) + 1
    for turn in _turns:
        base = _FIRST + turn * width % (_LAST - _FIRST - width)
        with ExitStack() as stack:
            try:
                for offset in offsets:
                    stack.enter_context(socket.create_server(("127.0.0.1", base + offset)))
            except OSError:
                continue
            return base
    raise AssertionError("unreachable: the count never ends")
