"""A certificate for one run: made in memory, signed by itself, trusted by the clients of the run alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from sockscope.core.addresses import numeric
from sockscope.core.config.tls import Certificate
from sockscope.errors import ConfigError

NAMES = ("localhost", "127.0.0.1", "::1")
"""What every such certificate is for."""
VALID_FOR = timedelta(days=30)
"""Longer than any run, short enough to be of no use to anybody who gets hold of it."""


def make_certificate(more: Iterable[str] = ()) -> Certificate:
    """Return a new certificate for this machine and for the hosts in ``more``.

    Raises ConfigError where the package ``cryptography`` is missing.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise ConfigError.of(
            "tls", True,
            "needs a certificate: give --tls-cert, or let one be made (pip install 'sockscope[tls]')",
        ) from None  # fmt: skip
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "SockScope, for one run")])
    hosts = dict.fromkeys([*NAMES, *more])
    names = [
        x509.DNSName(host) if numeric(host) is None else x509.IPAddress(ip_address(host)) for host in hosts
    ]
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain: bytes = built.public_bytes(serialization.Encoding.PEM)
    private: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(chain, private)
