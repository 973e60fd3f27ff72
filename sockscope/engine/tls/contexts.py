"""What both ends of a run speak TLS with: a context each, made from the experiment."""

from __future__ import annotations

import contextlib
import os
import ssl
import stat
import tempfile
from typing import Any, cast

from sockscope.core.addresses import Address, is_unix
from sockscope.core.config.experiment import Experiment
from sockscope.core.config.tls import Certificate, parse_alpn
from sockscope.engine.tls.sockets import TlsSocket
from sockscope.engine.tls.throw_away import make_certificate
from sockscope.errors import ConfigError

HANDSHAKE_S = 10.0
"""How long a server waits for a client to finish its handshake."""
GOODBYE_S = 1.0
"""How long an event loop waits for the answer to its close_notify."""
MOST_PEM_BYTES = 1 << 20
"""Largest file of certificates that is read: 1 MiB."""
UNIX_NAME = "localhost"
"""What a server at a Unix socket is called unless --tls-name says otherwise."""
_FILES = ("tls_ca", "tls_cert", "tls_key", "tls_client_cert", "tls_client_key")


class Resumption:
    """A context for one connection that takes up a session; an event loop calls nothing else of it."""

    def __init__(self, context: ssl.SSLContext, session: ssl.SSLSession) -> None:
        self._context = context
        self._session = session

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **more: Any) -> ssl.SSLObject:
        """Begin the handshake of a connection."""
        return self._context.wrap_bio(incoming, outgoing, **more, session=self._session)


class ClientTls:
    """How clients speak TLS. Raises ConfigError where a file will not do."""

    def __init__(self, experiment: Experiment, certificate: Certificate | None) -> None:
        self._name = experiment.tls_name
        self._elsewhere = experiment.targets if experiment.role == "swarm" else ()
        self._context = _client_context(experiment, certificate)

    def name_of(self, target: Address) -> str:
        """Return the name that the certificate of the server at ``target`` is to be of.

        A relay before a server elsewhere shows the certificate of that one.
        """
        if self._elsewhere and target not in self._elsewhere:
            target = self._elsewhere[0]
        host = UNIX_NAME if is_unix(target[0]) else target[0].partition("%")[0]
        return self._name or host

    def for_loop(self, target: Address, session: ssl.SSLSession | None, timeout_s: float) -> dict[str, Any]:
        """Return the arguments with which an event loop makes a connection over TLS."""
        context = self._context if session is None else Resumption(self._context, session)
        return {"server_hostname": self.name_of(target), **_of_loop(context, timeout_s)}

    def wrap(self, sock: Any, target: Address, session: ssl.SSLSession | None) -> TlsSocket:
        """Return a connected socket with TLS over it, whose handshake is yet to come."""
        secured = self._context.wrap_socket(
            sock,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
            server_hostname=self.name_of(target),
            session=session,
        )
        return cast(TlsSocket, secured)


class ServerTls:
    """How a server speaks TLS; its context is made when the first connection needs it.

    ``certificate`` is the throw-away one, if none was given.
    """

    def __init__(self) -> None:
        self.certificate: Certificate | None = None
        self._context: ssl.SSLContext | None = None

    def context(self, experiment: Experiment) -> ssl.SSLContext:
        """Return the context; raises ConfigError where a file will not do."""
        if self._context is None:
            self._context = _server_context(experiment, self.certificate)
        return self._context

    def wrap(self, experiment: Experiment, sock: Any) -> TlsSocket:
        """Return an accepted socket with TLS over it, whose handshake is yet to come; raises OSError."""
        secured = self.context(experiment).wrap_socket(
            sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        return cast(TlsSocket, secured)

    def for_loop(self, experiment: Experiment) -> dict[str, Any]:
        """Return the arguments with which an event loop accepts a connection over TLS."""
        return _of_loop(self.context(experiment), HANDSHAKE_S)


def _of_loop(context: object, timeout_s: float) -> dict[str, Any]:
    return {"ssl": context, "ssl_handshake_timeout": timeout_s, "ssl_shutdown_timeout": GOODBYE_S}


def check_files(experiment: Experiment) -> None:
    """Raise ConfigError where a file of certificates will not do, or none can be made."""
    if experiment.role != "server" and (experiment.tls_ca or experiment.client_certificate[0]):
        _client_context(experiment, None)
    if experiment.role != "swarm" and experiment.tls_cert:
        _server_context(experiment, None)


def check_cluster_files(experiment: Experiment) -> None:
    """Raise ConfigError where a file by which a cluster is reached over TLS will not do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _trust(context, "cluster_ca", experiment.cluster_ca)
    _load(context, "cluster_cert", experiment.cluster_cert, experiment.cluster_key)


def certificate_for(experiment: Experiment) -> Certificate | None:
    """Return a throw-away certificate for the server of a run that has none of its own, else None.

    Raises ConfigError where none can be made.
    """
    if experiment.role == "swarm" or experiment.tls_cert:
        return None
    bind = "" if is_unix(experiment.bind) else experiment.bind.partition("%")[0]
    return make_certificate(filter(None, (bind, experiment.tls_name)))


def told(over: ssl.SSLObject | ssl.SSLSocket) -> str:
    """Return what was agreed on: ``TLSv1.3 TLS_AES_256_GCM_SHA384 h2``."""
    cipher = over.cipher()
    parts = (over.version(), cipher[0] if cipher else "", over.selected_alpn_protocol())
    return " ".join(filter(None, parts))


def said_goodbye(over: ssl.SSLObject | ssl.SSLSocket) -> bool:
    """Tell whether the peer of a connection that an event loop has ended had sent its close_notify."""
    try:
        return not over.read(1)
    except ssl.SSLZeroReturnError:
        return True
    except (ssl.SSLError, ValueError):
        return False


def _client_context(experiment: Experiment, certificate: Certificate | None) -> ssl.SSLContext:
    context = _new_context(ssl.PROTOCOL_TLS_CLIENT, experiment)
    serves_itself = experiment.role == "both"
    if experiment.tls_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif experiment.tls_ca:
        _trust(context, "tls_ca", experiment.tls_ca)
    elif certificate is not None:
        context.load_verify_locations(cadata=certificate.chain.decode())
        # It is the one certificate that is trusted, and only our server has its key, on whichever worker of a
        # cluster that is by now: a name adds nothing.
        context.check_hostname = False
    elif serves_itself and experiment.tls_cert:
        _trust(context, "tls_cert", experiment.tls_cert)
    else:
        context.load_default_certs()
    cert, key = experiment.client_certificate
    if cert:
        _load(context, "tls_client_cert" if experiment.tls_client_cert else "tls_cert", cert, key)
    return context


def _server_context(experiment: Experiment, certificate: Certificate | None) -> ssl.SSLContext:
    context = _new_context(ssl.PROTOCOL_TLS_SERVER, experiment)
    if experiment.tls_cert:
        _load(context, "tls_cert", experiment.tls_cert, experiment.tls_key)
    else:
        assert certificate is not None
        _load_made(context, certificate)
    demanded = experiment.tls_ca if experiment.role == "server" else ""
    if experiment.role == "both" and experiment.tls_client_cert:
        demanded = experiment.tls_ca or experiment.tls_client_cert
    if demanded:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, "tls_ca", demanded)
    return context


def _new_context(protocol: int, experiment: Experiment) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    # Set by Pythons before 3.11.3: an end without close_notify would read as a whole one.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.sslsocket_class = TlsSocket
    # A certificate that is trusted by itself need not be that of a CA.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if experiment.alpn:
        context.set_alpn_protocols(parse_alpn(experiment.alpn))
    return context


def _trust(context: ssl.SSLContext, field: str, path: str) -> None:
    _look_at(field, path)
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise ConfigError.of(field, path, "is no file of certificates in PEM") from error


def _load(context: ssl.SSLContext, field: str, path: str, key: str) -> None:
    key_field = field.replace("cert", "key")

    def no_password() -> str:
        where = (key_field, key) if key else (field, path)
        raise ConfigError.of(*where, "has an encrypted private key; decrypt it first (openssl pkey)")

    _look_at(field, path)
    if key:
        _look_at(key_field, key)
    try:
        context.load_cert_chain(path, key or None, no_password)
    except OSError as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise ConfigError.of(field, path, "is of another private key") from None
        flag = key_field.replace("_", "-")
        where = f" with {key}" if key else f", nor is there a key of its own (--{flag})"
        raise ConfigError.of(field, path, f"is no certificate in PEM with its private key{where}") from None


def _load_made(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Load a certificate from memory: ssl reads files only, so it is one for a moment (0600)."""
    descriptor, path = tempfile.mkstemp(prefix="sockscope-", suffix=".pem")
    try:
        with open(descriptor, "wb") as file:
            file.write(certificate.key + certificate.chain)
        context.load_cert_chain(path)
    finally:
        os.unlink(path)


def _look_at(field: str, path: str) -> None:
    """Raise ConfigError unless ``path`` is a regular file of a sensible size, which can be read."""
    try:
        found = os.stat(path)
        with contextlib.ExitStack() as stack:
            if stat.S_ISREG(found.st_mode):
                stack.enter_context(open(path, "rb"))
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
        raise ConfigError.of(field, path, f"cannot be read: {why}") from None
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError.of(field, path, "is not a regular file")
    if found.st_size > MOST_PEM_BYTES:
        raise ConfigError.of(field, path, f"is longer than {MOST_PEM_BYTES:,} B")
