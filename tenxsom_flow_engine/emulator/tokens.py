"""The identity tokens of deliveries, signed like Google's, and forged tokens for tests."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

from tenxsom_flow_engine.clock import Clock, SystemClock

ISSUER = "https://accounts.google.com"
#: Lifetime of a token in seconds, as at Google.
LIFETIME = 3600


class TokenIssuer:
    """Issues RS256 tokens with the same claims as Google's, and the certificates that verify them.

    It uses the machine's clock by default, because the code that verifies a token uses that clock too.
    The first key is generated when it is needed, which takes about 0.1 s.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._keys: list[_Key] = []
        self._lock = threading.Lock()

    def certificates(self) -> dict[str, str]:
        """Return the PEM certificates by key id, newest last."""
        self._current()
        return {key.id: key.certificate for key in self._keys}

    def rotate(self, *, keep: int = 1) -> None:
        """Sign with a new key from now on; keep publishing the latest `keep` old certificates."""
        self._current()
        with self._lock:
            self._keys = [*(self._keys[-keep:] if keep else []), _Key()]

    def issue(self, account: str, audience: str, *, age: float = 0.0, **claims: Any) -> str:
        """Return a token of a service account for an audience, issued `age` seconds ago; `claims` replace defaults."""
        return self._sign(self._current(), self._claims(account, audience, age) | claims)

    def forge(self, account: str, audience: str, *, known_key: bool = True) -> str:
        """Return a token signed with a foreign key, under the id of the current key or an unknown id."""
        forger = _Key()
        if known_key:
            forger.id = self._current().id
        return self._sign(forger, self._claims(account, audience, 0.0))

    def unsigned(self, account: str, audience: str) -> str:
        """Return an unsigned token (`alg: none`)."""
        header = {"alg": "none", "typ": "JWT", "kid": self._current().id}
        parts = (json.dumps(part).encode() for part in (header, self._claims(account, audience, 0.0)))
        return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."

    def _current(self) -> _Key:
        with self._lock:
            if not self._keys:
                self._keys.append(_Key())
            return self._keys[-1]

    def _claims(self, account: str, audience: str, age: float) -> dict[str, Any]:
        issued = int(self._clock.now() - age)
        # The subject is the account's permanent number; here it is derived from the account's name.
        number = str(int.from_bytes(hashlib.sha256(account.encode()).digest()[:8], "big")).zfill(21)
        return {
            "iss": ISSUER, "aud": audience, "azp": number, "sub": number, "email": account, "email_verified": True,
            "iat": issued, "exp": issued + LIFETIME,
        }  # fmt: skip

    @staticmethod
    def _sign(key: _Key, claims: dict[str, Any]) -> str:
        token: bytes = jwt.encode(key.signer, claims, key_id=key.id)  # type: ignore[no-untyped-call]
        return token.decode()


class _Key:
    """A private key with its id and its certificate."""

    def __init__(self) -> None:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.id = secrets.token_hex(20)
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.signer = crypt.RSASigner.from_string(pem, self.id)  # type: ignore[no-untyped-call]
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tokens.emulator.invalid")])
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365))
            .sign(private, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
            .decode()
        )
