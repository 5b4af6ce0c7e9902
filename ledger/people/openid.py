"""Coming in by an OpenID provider: the authorization code flow with PKCE (OpenID Connect Core 1.0).

The provider's word is taken for who somebody is, never for what they may do.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from ledger.errors import SettingsInvalid
from ledger.people.entrance import LogInRefused

TIMEOUT_SECONDS = 10
LEEWAY_SECONDS = 60
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_FAILED = "The OpenID provider's answer cannot be used: try again, or tell an admin."


@dataclass(frozen=True)
class OpenId:
    """A provider, and the address to which it sends people back."""

    issuer: str
    client_id: str
    client_secret: str
    back: str

    @classmethod
    def read(cls, url: str, back: str) -> OpenId:
        """Read https://client:secret@issuer.example/path; raise SettingsInvalid."""
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or parts.hostname in _LOOPBACK
        if not (is_safe and parts.hostname and parts.username and parts.password):
            raise SettingsInvalid(
                "LEDGER_OPENID_URL is written as https://client:secret@issuer.example/path."
            )
        host = parts.netloc.rpartition("@")[2]
        issuer = f"{parts.scheme}://{host}{parts.path}".rstrip("/")
        return cls(issuer, unquote(parts.username), unquote(parts.password), back)

    def begin(self) -> tuple[str, dict[str, str]]:
        """Return where to send somebody, and what to remember until they come back."""
        state = {name: secrets.token_urlsafe(24) for name in ("state", "nonce", "verifier")}
        digest = hashlib.sha256(state["verifier"].encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.back,
            "scope": "openid email",
            "state": state["state"],
            "nonce": state["nonce"],
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return f"{self._discovered()['authorization_endpoint']}?{urlencode(asked)}", state

    def end(self, told: Mapping[str, str], state: Mapping[str, str]) -> tuple[str, str]:
        """Return the subject and the address that the provider vouches for; raise LogInRefused."""
        if not secrets.compare_digest(told.get("state", "").encode(), state["state"].encode()):
            raise LogInRefused(_FAILED)
        if "code" not in told:
            raise LogInRefused("The OpenID provider did not let you in.")
        known = self._discovered()
        try:
            answer = httpx.post(
                known["token_endpoint"],
                data={
                    "grant_type": "authorization_code",
                    "code": told["code"],
                    "redirect_uri": self.back,
                    "code_verifier": state["verifier"],
                },
                auth=(self.client_id, self.client_secret),
                timeout=TIMEOUT_SECONDS,
            ).raise_for_status()
            keys = KeySet.import_key_set(_json(known["jwks_uri"]))  # type: ignore[arg-type]
            token = jwt.decode(answer.json()["id_token"], keys, algorithms=ALGORITHMS)
            registry = jwt.JWTClaimsRegistry(
                leeway=LEEWAY_SECONDS,
                iss={"essential": True, "value": self.issuer},
                aud={"essential": True, "value": self.client_id},
                exp={"essential": True},
                nonce={"essential": True, "value": state["nonce"]},
                sub={"essential": True},
            )
            registry.validate(token.claims)
        except (httpx.HTTPError, JoseError, ValueError, KeyError, TypeError) as error:
            raise LogInRefused(_FAILED) from error
        claims = token.claims
        if claims.get("email_verified") is not True or not isinstance(claims.get("email"), str):
            raise LogInRefused("The OpenID provider has not verified your address.")
        return f"{self.issuer} {claims['sub']}", claims["email"]

    def _discovered(self) -> dict[str, Any]:
        try:
            found = _json(f"{self.issuer}/.well-known/openid-configuration")
            if found["issuer"].rstrip("/") != self.issuer:
                raise LogInRefused(_FAILED)
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise LogInRefused("The OpenID provider does not answer: try again later.") from error
        return found


def _json(address: str) -> dict[str, Any]:
    answer = httpx.get(address, timeout=TIMEOUT_SECONDS).raise_for_status()
    found: dict[str, Any] = answer.json()
    return found
