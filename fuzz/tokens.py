"""Forged tokens of deliveries."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import time
from functools import cache
from typing import Any, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from fuzz.deliveries import delivery
from fuzz.json_values import RAW, TEXTS, damage, odd_value
from fuzz.subject import Subject
from fuzz.web_worker import ACCOUNT, AUDIENCE, WebWorker
from tenxsom_flow_engine.emulator.tokens import ISSUER, TokenIssuer

#: The hash functions of the algorithms that a header can name.
_HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


class Tokens(Subject):
    """`Authorization` headers with forged tokens: each gets 401 or 403, and no answer or log line quotes it."""

    name = "tokens"
    count, few = 138, 138

    def __enter__(self) -> Self:
        self._worker = WebWorker(serve=False)
        self._worker.__enter__()
        self._client = self._worker.app.test_client()
        assert self._send(f"Bearer {self._worker.token}").status_code == 200, "a genuine token is refused"
        return self

    def __exit__(self, *exception: object) -> None:
        self._worker.__exit__(*exception)

    def make(self, draw: random.Random) -> str:
        token = draw.choice(FORGERIES)(self._worker.issuer, draw)
        return draw.choice(("Bearer ", "Bearer ", "Bearer ", "bearer  ", "BEARER\t", "Basic ", "")) + token

    def accepts(self, made: Any) -> bool:
        jobs = self._worker.jobs
        answer = self._send(made)
        log = self._worker.log.take()
        assert answer.status_code in (401, 403), f"response {answer.status_code}:\n{log}"
        assert self._worker.jobs == jobs, "it added a job"
        assert "Traceback" not in log, log
        quoted = [part for part in made.split(".") if len(part) > 20 and (part in log or part in answer.text)]
        assert not quoted, f"the token is quoted: {quoted[0][:80]}"
        return False

    def _send(self, authorization: str) -> Any:
        return self._client.post(
            "/process",
            data=delivery("forged", random.Random(7)),
            content_type="application/json",
            headers={"Authorization": authorization},
        )


def _wrong_claims(issuer: TokenIssuer, draw: random.Random) -> str:
    """Return a token with a genuine signature, but for another account or another time."""
    now = int(time.time())
    others: dict[str, tuple[Any, ...]] = {
        "iss": ("https://accounts.google.com.evil.test", "http://accounts.google.com", f"{ISSUER}/", "", [ISSUER], None,
                {"a": ISSUER}),
        "aud": (f"{AUDIENCE}/", AUDIENCE.upper(), "https://evil.test", [AUDIENCE], {AUDIENCE: 1}, "", None, True, 0),
        "email": (f" {ACCOUNT}", ACCOUNT.upper(), f"{ACCOUNT}.evil.test", "caller@project", [ACCOUNT], "", None,
                  ACCOUNT.replace("a", "\u0430", 1), f"{ACCOUNT}\0"),
        "email_verified": (False, "true", "True", 1, None, [True], ""),
        "exp": (now - 60, 0, -1, -1e300, str(now - 60), None, [], {}, "never", True),
        "iat": (now + 3600, 1e300, None, [], {}, "yesterday", now + 86400 * 365),
    }  # fmt: skip
    name = draw.choice(list(others))
    return issuer.issue(ACCOUNT, AUDIENCE, **{name: draw.choice(others[name])})


def _old(issuer: TokenIssuer, draw: random.Random) -> str:
    return issuer.issue(ACCOUNT, AUDIENCE, age=draw.choice((3700.0, 7200.0, 86400.0, 1e9)))


def _foreign_key(issuer: TokenIssuer, draw: random.Random) -> str:
    return issuer.forge(ACCOUNT, AUDIENCE, known_key=draw.random() < 0.5)


def _other_algorithm(issuer: TokenIssuer, draw: random.Random) -> str:
    """Return a token with another algorithm: none, one whose secret is the public key, or one with another key."""
    ((key_id, certificate),) = issuer.certificates().items()
    name = draw.choice(
        ("none", "None", "nOnE", "", None, "HS256", "HS384", "HS512", "ES256", "PS256", "RS512", "RS256", 7)
    )
    body = f"{_part({'alg': name, 'typ': 'JWT', 'kid': key_id})}.{_part(_claims())}"
    match name:
        case "HS256" | "HS384" | "HS512":
            secret = draw.choice((certificate.encode(), b"", key_id.encode()))
            signature = hmac.new(secret, body.encode(), f"sha{name[2:]}").digest()
        case "ES256":
            signature = _ec_key().sign(body.encode(), ec.ECDSA(hashes.SHA256()))
        case "PS256":
            signature = _rsa_key().sign(body.encode(), padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        case "RS256" | "RS512":
            signature = _rsa_key().sign(body.encode(), padding.PKCS1v15(), _HASHES[name[2:]])
        case _:
            signature = b""
    return f"{body}.{_text(signature)}"


def _other_header(issuer: TokenIssuer, draw: random.Random) -> str:
    """Return a token whose header carries a key, or is odd."""
    _, claims, signature = issuer.issue(ACCOUNT, AUDIENCE).split(".")
    jwk = {"kty": "oct", "k": _text(b"secret")}
    odd: list[Any] = [
        {"alg": "RS256", "kid": None}, {"alg": "RS256"}, {"kid": odd_value(draw), "alg": "RS256"}, [], None, "RS256",
        1, {"alg": "RS256", "jku": "https://evil.test/keys", "kid": "evil"},
        {"alg": "RS256", "jwk": jwk, "kid": "evil"}, {"alg": "RS256", "kid": "../../../dev/null"},
        {"alg": "RS256", "x5u": "https://evil.test", "kid": ""},
        {"alg": "RS256", "crit": ["exp"], "kid": draw.choice(TEXTS)},
    ]  # fmt: skip
    return f"{_part(draw.choice(odd))}.{claims}.{signature}"


def _other_body(issuer: TokenIssuer, draw: random.Random) -> str:
    """Return a token whose signature is for other claims: changed, repeated, nested, huge or no JSON."""
    header, _, signature = issuer.issue(ACCOUNT, AUDIENCE).split(".")
    plain = json.dumps(_claims())
    odd = (
        json.dumps(_claims() | {draw.choice(list(_claims())): odd_value(draw)}),
        plain[:-1] + f', "email": "{ACCOUNT}"}}',
        json.dumps({"claims": _claims()}), json.dumps([_claims()]), "[" * 2000, '{"a":' * 900 + "1" + "}" * 900,
        json.dumps(_claims() | {"pad": "x" * draw.choice((4_000, 20_000, 40_000))}), draw.choice(RAW), "", "null",
        damage(plain.encode(), draw).decode("latin-1"),
    )  # fmt: skip
    return f"{header}.{_text(draw.choice(odd).encode())}.{signature}"


def _damaged(issuer: TokenIssuer, draw: random.Random) -> str:
    """Return a genuine token with a damaged part."""
    parts = issuer.issue(ACCOUNT, AUDIENCE).split(".")
    number = draw.randrange(3)
    content = bytearray(base64.urlsafe_b64decode(parts[number] + "=="))
    match draw.randrange(4):
        case 0:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        case 1:
            del content[draw.randrange(len(content)) :]
        case 2:
            content += draw.randbytes(draw.randint(1, 300))
        case _:
            content = bytearray(draw.randbytes(len(content)))
    parts[number] = _text(bytes(content))
    return ".".join(parts)


def _other_shape(issuer: TokenIssuer, draw: random.Random) -> str:
    """Return a text that does not have the three parts of a token, or has other letters."""
    token = issuer.issue(ACCOUNT, AUDIENCE)
    header, claims, signature = token.split(".")
    shapes = (
        "", ".", "..", "...", header, f"{header}.{claims}", f"{header}.{claims}.", f".{claims}.{signature}",
        token + ".", f"{token}.{signature}", f"{header}..{signature}", token.swapcase(), token[::-1],
        f"{header}.{claims}.{'A' * 50_000}", "A" * 60_000, "." * 5_000, f"{header}.{claims}.====", "\u00e9" * 40,
        f"{header} {claims} {signature}", f"{claims}.{header}.{signature}", hashlib.sha256(token.encode()).hexdigest(),
    )  # fmt: skip
    return draw.choice(shapes)


FORGERIES = (
    _wrong_claims, _wrong_claims, _wrong_claims, _old, _foreign_key, _other_algorithm, _other_algorithm, _other_header,
    _other_body, _other_body, _damaged, _damaged, _other_shape,
)  # fmt: skip


def _claims() -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": ISSUER, "aud": AUDIENCE, "email": ACCOUNT, "email_verified": True, "iat": now, "exp": now + 3600,
        "sub": "1"
    }  # fmt: skip


def _part(value: Any) -> str:
    return _text(json.dumps(value).encode())


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@cache
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def _ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())
