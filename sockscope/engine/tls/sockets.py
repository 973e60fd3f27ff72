"""A TLS socket with the manners of a plain one, for those who read and write sockets themselves."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Any

WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""How a TLS socket says that it would block."""


class TlsSocket(ssl.SSLSocket):
    """Would block as any socket does (BlockingIOError), and writes more than one record at a time.

    An end without close_notify raises SSLEOFError: it may have been cut off (RFC 8446, section 6.1).
    ``MSG_DONTWAIT`` is the only flag that it knows.
    """

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands; raises SSLError, SSLEOFError when the peer has gone."""
        try:
            super().do_handshake(block)
        except ssl.SSLError as error:
            raise _as_newer_pythons_do(error) from None

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """Return what has come, decrypted, or put it into ``buffer`` and return its size."""
        try:
            return super().read(len, buffer)
        except ssl.SSLError as error:
            raise _as_newer_pythons_do(error) from None

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return what has come, decrypted; nothing at the end."""
        with self._not_waiting(flags):
            return super().recv(buflen)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Put what has come into ``buffer``, decrypted; return its size."""
        try:
            size: Any = self.read(nbytes or len(buffer), buffer)
        except WANTS:
            raise BlockingIOError(errno.EAGAIN, "nothing to read") from None
        return int(size)

    def send(self, data: Any, flags: int = 0) -> int:
        """Write what the kernel takes of ``data``; return how much that was."""
        if flags:
            with self._not_waiting(flags):
                return self.send(data)
        try:
            sent = self.write(data)
        except WANTS:
            raise BlockingIOError(errno.EAGAIN, "no room to write") from None
        if sent < len(data):
            rest = memoryview(data)
            with contextlib.suppress(*WANTS):
                while sent < len(data):
                    sent += self.write(rest[sent:])
        return sent

    def shutdown(self, how: int) -> None:
        """Shut down the connection below, whatever is being read or written; what is TLS stays so."""
        socket.socket.shutdown(self, how)

    def close(self) -> None:
        """Say goodbye (close_notify) without waiting for the answer, and close."""
        if self.fileno() >= 0:
            # The peer may be gone, or the handshake never have come to an end.
            with contextlib.suppress(OSError, ValueError):
                self.settimeout(0.0)
                self.unwrap()
        super().close()

    @contextlib.contextmanager
    def _not_waiting(self, flags: int) -> Iterator[None]:
        """Wait for nothing, if these flags say so; block as other sockets do."""
        before = self.gettimeout()
        if flags & socket.MSG_DONTWAIT:
            self.settimeout(0.0)
        try:
            yield
        except WANTS:
            raise BlockingIOError(errno.EAGAIN, "it would block") from None
        finally:
            self.settimeout(before)


def _as_newer_pythons_do(error: ssl.SSLError) -> ssl.SSLError:
    """Return an end without close_notify as SSLEOFError: before Python 3.11.3 it is another error."""
    if error.reason != "UNEXPECTED_EOF_WHILE_READING" or isinstance(error, ssl.SSLEOFError):
        return error
    end = ssl.SSLEOFError(*error.args)
    end.reason, end.library = error.reason, error.library
    return end
