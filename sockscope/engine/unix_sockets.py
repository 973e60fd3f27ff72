"""Names and files of Unix sockets: how they are taken, replaced where nobody listens, and removed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple
from weakref import WeakSet

from sockscope.core.addresses import UNIX

ABSTRACT_NAMES = sys.platform == "linux"
"""Whether sockets can have names that are no files (unix(7))."""
_EVERYWHERE: WeakSet[SocketFiles] = WeakSet()


class _Identity(NamedTuple):
    """What tells a file from another with the same path; the number of its inode is given out again."""

    device: int
    inode: int
    made_ns: int


def bind_anywhere(sock: socket.socket) -> str:
    """Bind to a name that nobody has, by which others know the socket; raises OSError.

    On Linux the kernel chooses an abstract one (unix(7), autobind). Elsewhere it is a file, whose path is
    returned: :func:`remove_temporary` it with the socket.
    """
    if ABSTRACT_NAMES:
        sock.bind("")
        return ""
    folder = tempfile.mkdtemp(prefix="sockscope-")
    path = os.path.join(folder, "socket")
    try:
        sock.bind(path)
    except OSError:
        os.rmdir(folder)
        raise
    return path


def name_client(sock: socket.socket) -> None:
    """Let both ends of a stream know which one it is, where a name is no file; raises OSError."""
    if ABSTRACT_NAMES:
        bind_anywhere(sock)


def remove_temporary(path: str) -> None:
    """Remove the file that :func:`bind_anywhere` has made, if it has made one."""
    if not path:
        return
    with contextlib.suppress(OSError):
        os.unlink(path)
        os.rmdir(os.path.dirname(path))


class SocketFiles:
    """The socket files that a server has made. It removes them, and nobody else's."""

    def __init__(self) -> None:
        self._made: dict[str, _Identity] = {}
        self._temporary: set[str] = set()
        # By its path, where a file of ours is that makes room for the next.
        self._aside: dict[str, str] = {}
        _EVERYWHERE.add(self)

    def bind(self, sock: socket.socket, host: str) -> None:
        """Bind a socket; a file that nobody listens at, or that is this server's, is replaced.

        Until it is :meth:`settled <settle>`, one of this server's can be :meth:`restored <restore>`.
        Raises OSError: EEXIST where something else than a socket is in the way, EADDRINUSE where somebody
        listens, or what else the kernel says.
        """
        path = host.removeprefix(UNIX)
        if not path:
            self._temporary.update(filter(None, [bind_anywhere(sock)]))
        elif not path.startswith("@"):
            self._bind_file(sock, path)
        elif ABSTRACT_NAMES:
            sock.bind(f"\0{path[1:]}")
        else:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    def settle(self) -> None:
        """What has been bound stays: remove what made room for it."""
        for aside in self._aside.values():
            with contextlib.suppress(OSError):
                os.unlink(aside)
        self._aside.clear()

    def restore(self) -> None:
        """What has been bound cannot serve: put back what made room for it."""
        for path, aside in self._aside.items():
            with contextlib.suppress(OSError):
                os.rename(aside, path)
                self._made[path] = _identity(os.lstat(path))
        self._aside.clear()

    def remove(self, keep: str = "") -> None:
        """Remove the files but that of the address ``keep``."""
        self.settle()
        kept = keep.removeprefix(UNIX)
        for path, made in list(self._made.items()):
            if path == kept:
                continue
            del self._made[path]
            with contextlib.suppress(OSError):
                if _identity(os.lstat(path)) == made:
                    os.unlink(path)
        for path in self._temporary - {kept}:
            self._temporary.discard(path)
            remove_temporary(path)

    def _bind_file(self, sock: socket.socket, path: str) -> None:
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            with _replacing_in(os.path.dirname(path) or "."):
                self._make_room(path)
                sock.bind(path)
        self._made[path] = _identity(os.lstat(path))

    def _make_room(self, path: str) -> None:
        found = os.lstat(path)
        if not stat.S_ISSOCK(found.st_mode):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        if self._made.get(path) == _identity(found):
            self._aside[path] = f"{path}.{os.getpid()}"
            os.rename(path, self._aside[path])
        elif _is_in_use(path):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        else:
            os.unlink(path)


def remove_socket_files() -> None:
    """Remove the files of every server of this process: it ends at once."""
    for files in list(_EVERYWHERE):
        files.remove()


def _identity(found: os.stat_result) -> _Identity:
    return _Identity(found.st_dev, found.st_ino, found.st_mtime_ns)


def _is_in_use(path: str) -> bool:
    """Tell whether somebody has a socket file open, without a connection to whoever that is.

    A datagram socket is connected by looking the other one up, and whether that is of its type is looked at
    last (unix_find_bsd in net/unix/af_unix.c): EPROTOTYPE is a stream socket. Raises OSError where it cannot
    be told, for want of permission.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
    return True


@contextlib.contextmanager
def _replacing_in(folder: str) -> Iterator[None]:
    """Let nobody else replace a socket in a directory: two who find it stale must not both take its place.

    Raises OSError with EADDRINUSE while somebody else does.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)) from error
    finally:
        os.close(descriptor)
