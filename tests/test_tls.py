"""What is encrypted on its way, and what is said about what is weaker than it need be."""

from __future__ import annotations

import os
import ssl
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from werkzeug.test import Client

from api.front import _environ
from api.site import create_site
from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.database import open_database
from ledger.errors import SettingsInvalid
from ledger.people import tokens
from ledger.people.users import People
from ledger.privacy.key_sources import key_file
from ledger.settings import Settings
from ledger.weaknesses import weaknesses
from tests.client import RequestHeaders, scope_of
from tests.test_cli import Shell
from tests.test_kills import Server

PKCS8, SEC1 = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL


def write_key(
    file: Path, key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat
) -> Path:
    plain = serialization.NoEncryption()
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return file


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that signed itself, and its key."""
    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate = folder / "cert.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return certificate, write_key(folder / "key.pem", key, PKCS8)


class SecureServer(Server):
    """`ledger serve` over TLS."""

    def __init__(self, home: Path, pair: tuple[Path, Path]) -> None:
        super().__init__(home)
        self.options = ("--tls-cert", str(pair[0]), "--tls-key", str(pair[1]))
        self.context = ssl.create_default_context(cafile=pair[0])

    def connection(self) -> HTTPConnection:
        return HTTPSConnection("localhost", self.port, timeout=10, context=self.context)


def test_it_serves_over_tls_and_browsers_are_told_to_stay(
    tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    server = SecureServer(tmp_path / "home", pair)
    try:
        server.start()
        with closing(server.connection()) as connection:
            connection.request("GET", "/login")
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--host", "0.0.0.0"], "LEDGER_PROXIES=1"),
        (["--tls-cert", "CERT"], "belong together"),
        (["--tls-cert", "/nowhere", "--tls-key", "KEY"], "/nowhere cannot be read"),
        (["--tls-cert", "CERT", "--tls-key", "OLD"], "openssl pkcs8"),
        (["--tls-cert", "CERT", "--tls-key", "OTHER"], "no certificate and its key"),
    ],
)
def test_what_could_not_be_kept_secret_is_not_served(
    settings: Settings, pair: tuple[Path, Path], tmp_path: Path, options: list[str], told: str
) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    files = {
        "CERT": str(pair[0]),
        "KEY": str(pair[1]),
        "OLD": str(write_key(tmp_path / "old.pem", other, SEC1)),
        "OTHER": str(write_key(tmp_path / "other.pem", other, PKCS8)),
    }
    said = Shell(settings, "default")("serve", *(files.get(one, one) for one in options))

    assert (said.code, told in said.err) == (1, True), said.err


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_to_a_database_elsewhere_nothing_goes_in_plain(mode: str) -> None:
    url = f"postgresql://clerk@db.example.test/billing?sslmode={mode}"

    with pytest.raises(SettingsInvalid, match="sslmode"):
        open_database(Settings(home=Path("/nowhere"), database_url=url))


@pytest.mark.parametrize(
    ("url", "plain", "mode"),
    [
        ("postgresql://clerk@db.example.test/billing", False, "require"),
        ("postgresql://clerk@db.example.test/billing?sslmode=verify-full", False, "verify-full"),
        ("postgresql://clerk@127.0.0.1/billing", False, None),
        ("postgresql:///billing?host=/run/postgresql", False, None),
        ("postgresql://clerk@127.0.0.1,db.example.test/billing", False, "require"),
        ("postgresql://clerk@db/billing?sslmode=disable", True, "disable"),
    ],
)
def test_how_a_database_is_reached(url: str, plain: bool, mode: str | None) -> None:
    settings = Settings(home=Path("/nowhere"), database_url=url, database_plain=plain)

    assert open_database(settings).runtime.get("sslmode") == mode


def test_a_trusted_proxy_tells_who_asks_and_how(installation: Installation) -> None:
    told = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    behind = Installation(replace(installation.settings, proxies=1), installation.database)

    alone = Client(create_site(installation)).get("/login", headers=told)
    trusted = Client(create_site(behind)).get("/login", headers=told)

    assert "Strict-Transport-Security" not in alone.headers
    assert "Strict-Transport-Security" in trusted.headers


def test_what_a_caller_writes_with_underscores_is_nobodys_word(installation: Installation) -> None:
    scope: Any = scope_of({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": ""})
    scope.headers = RequestHeaders([("x-forwarded-for", "9.9.9.9"), ("x_forwarded_for", "6.6.6.6")])
    assert _environ(scope, b"")["HTTP_X_FORWARDED_FOR"] == "9.9.9.9"


# --- what is weaker than it need be ---------------------------------------------------------------


def codes(settings: Settings, ledger: Ledger) -> set[str]:
    with ledger.pool.connection() as connection:
        return {one.code for one in weaknesses(settings, ledger, connection)}


@pytest.fixture
def home(tmp_path: Path, settings: Settings) -> Settings:
    return replace(settings, home=tmp_path)


def test_nothing_is_said_of_what_is_as_it_should_be(home: Settings, ledger: Ledger) -> None:
    ledger.settings = replace(
        ledger.settings, api_key="rk_test_1", public_url="https://b.example.test"
    )
    with ledger.pool.connection() as connection:
        tokens.create(connection, ledger.name, "reader", ["read"])

    assert codes(home, ledger) == set()


def test_each_weak_setting_is_named(home: Settings, ledger: Ledger) -> None:
    ledger.settings = replace(
        ledger.settings, api_key="sk_test_1", public_url="http://b.example.test",
        webhook_secrets=("secret",),
    )  # fmt: skip
    key_file(home).write_text("x")
    key_file(home).chmod(0o644)
    with ledger.pool.connection() as connection:
        tokens.create(connection, ledger.name, "endless", ["admin"])
        People(ledger).add("eka@example.test", "Eka", "admin", actor="t")
        connection.execute("UPDATE users SET password_hash = 'x'")
    weak = replace(home, database_plain=True, database_url="postgresql://x@127.0.0.1/y")

    assert codes(weak, ledger) == {
        "stripe_key_unrestricted", "public_url_plain", "webhook_secret_odd", "master_key_readable",
        "tokens_endless", "second_factor_missing", "database_plain", "database_role_owns",
    }  # fmt: skip


@pytest.fixture
def default(installation: Installation) -> Ledger:
    return installation.ledger("default")


def test_a_bootstrap_token_that_can_be_guessed_is_named(home: Settings, default: Ledger) -> None:
    assert "bootstrap_token_short" in codes(replace(home, bootstrap_token="short"), default)
    assert "bootstrap_token_short" not in codes(
        replace(home, bootstrap_token=os.urandom(24).hex()), default
    )
