"""Why a handshake has failed, or a connection over TLS has ended, in words."""

from __future__ import annotations

import os
import ssl

TRUNCATED = "it ended without TLS's close_notify: it may have been cut off"
"""What is said of a connection that ended as anybody between the two could end it."""
NO_LONGER_TLS = "what the other end says after the handshake is no TLS"
"""What is said of bytes that are no records of TLS, or that somebody has changed."""
_CURES = {
    # The numbers are OpenSSL's X509_V_ERR_* (x509_vfy.h).
    18: "--tls-ca names whom to trust, --tls-insecure trusts anybody",
    19: "--tls-ca names whom to trust, --tls-insecure trusts anybody",
    20: "--tls-ca names whom to trust, --tls-insecure trusts anybody",
    21: "--tls-ca names whom to trust, --tls-insecure trusts anybody",
    62: "--tls-name tells its name",
    64: "--tls-name tells its name",
}
_REASONS = {
    "WRONG_VERSION_NUMBER": "the other end speaks no TLS",
    "PACKET_LENGTH_TOO_LONG": "the other end speaks no TLS",
    "RECORD_LAYER_FAILURE": "the other end speaks no TLS",
    "UNEXPECTED_MESSAGE": "the other end speaks no TLS: what it says is no answer to a handshake",
    "HTTP_REQUEST": "the other end speaks HTTP without TLS",
    "HTTPS_PROXY_REQUEST": "the other end speaks HTTP without TLS",
    "UNSUPPORTED_PROTOCOL": "the two have no version of TLS in common",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the two have no version of TLS in common",
    "NO_SHARED_CIPHER": "the two have no cipher in common",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the other end has refused the handshake",
    "TLSV1_ALERT_UNKNOWN_CA": "the other end does not know who has signed the certificate of this one",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server demands a certificate (--tls-client-cert)",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client has no certificate",
    "TLSV1_UNRECOGNIZED_NAME": "the server does not know the name that it is asked for (--tls-name)",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the two have no protocol in common (--alpn)",
}
_NO_RECORDS = {
    "WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNEXPECTED_MESSAGE",
    "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
    "BAD_RECORD_TYPE", "RECORD_TOO_SMALL",
}  # fmt: skip


class HandshakeError(OSError):
    """A TLS handshake that came to nothing; the message says why."""


def handshake_error(error: OSError) -> HandshakeError:
    """Return what a failed handshake is told as."""
    return HandshakeError(f"TLS: {_why(error)}")


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return tls_error_text(error)
    # asyncio and uvloop end a handshake that takes too long by an error without a number.
    if isinstance(error, TimeoutError) or (isinstance(error, ConnectionAbortedError) and not error.errno):
        return "no handshake in time"
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return "the other end has closed the connection during the handshake"
    return os.strerror(error.errno) if error.errno else str(error)


def ended_text(error: ssl.SSLError) -> str:
    """Return why a connection has ended after its handshake."""
    return NO_LONGER_TLS if error.reason in _NO_RECORDS else tls_error_text(error)


def tls_error_text(error: ssl.SSLError) -> str:
    """Return what OpenSSL says, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        cure = _CURES.get(error.verify_code, "")
        said = error.verify_message.strip().rstrip(".")
        if not said.startswith("IP "):
            said = said[:1].lower() + said[1:]
        return f"the certificate is not accepted: {said}{f' ({cure})' if cure else ''}"
    if isinstance(error, ssl.SSLEOFError):
        return TRUNCATED
    reason = error.reason or ""
    said = reason.lower().replace("_", " ") or str(error)
    return _REASONS.get(reason, said)
