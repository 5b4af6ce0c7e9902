"""Which connections are encrypted, and what a certificate must be for a server to start with."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

from ledger.errors import SettingsInvalid

_WEAK = frozenset({"disable", "allow", "prefer"})


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: a name, an address or the folder of a socket."""
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_encrypted(parameters: dict[str, str], variable: str, *, plain_allowed: bool) -> None:
    """Let a connection to a PostgreSQL elsewhere be encrypted; raise SettingsInvalid for less.

    libpq's own rule, `prefer`, takes plain text where the server offers nothing else.
    """
    hosts = [
        *str(parameters.get("hostaddr") or "").split(","),
        *str(parameters.get("host") or "").split(","),
    ]
    if all(is_loopback(host) for host in hosts) or plain_allowed:
        return
    if parameters.setdefault("sslmode", "require") in _WEAK:
        raise SettingsInvalid(
            f"{variable} says sslmode={parameters['sslmode']}: to a database on another machine"
            " everything would go in plain. Leave it away, or say verify-full (with sslrootcert);"
            " in a network of its own LEDGER_DATABASE_PLAIN=yes allows it."
        )


def require_certificate(certificate: Path, key: Path) -> None:
    """Raise SettingsInvalid for a certificate and key that no server could start with."""
    for file, option in ((certificate, "--tls-cert"), (key, "--tls-key")):
        try:
            content = file.read_bytes()
        except OSError as error:
            raise SettingsInvalid(f"{option}: {file} cannot be read: {error.strerror}.") from error
        if option == "--tls-key" and b"-----BEGIN PRIVATE KEY-----" not in content:
            raise SettingsInvalid(
                f"--tls-key: {file} must be in PKCS#8 without a password: `openssl pkcs8 -topk8"
                f" -nocrypt -in {file} -out NEW` writes it so."
            )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise SettingsInvalid(
            f"{certificate} and {key} are no certificate and its key: {error.reason}."
        ) from error
