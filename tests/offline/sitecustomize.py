"""No program that a test starts, and no test, reaches the network: only this machine may be called.

The tests' `conftest.py` loads this file and names its folder in PYTHONPATH, so that every Python that a test
starts loads it, too. What is refused is refused as by a machine without a network. Python 3.8 can run it.
"""

import errno
import socket
import sys

CALLS = []
"""Who was called from this process, and may not be."""


def _own():
    """The names and addresses of this machine. A datagram socket learns its own, and sends nothing."""
    found = {"", "localhost", "::", "::1", "0.0.0.0", socket.gethostname()}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))
            found.add(asking.getsockname()[0])
        except OSError:
            pass
    return found


OWN = _own()


def _is_here(host):
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    return host in OWN or host.startswith("127.")


def _hear(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if not isinstance(address, tuple):  # a path of this machine
            return
        host = address[0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if isinstance(host, (str, bytes)) and not _is_here(host):
        CALLS.append(host)
        raise OSError(errno.ENETUNREACH, f"tests reach no network, and this calls {host!r}")


sys.addaudithook(_hear)
