"""Bearer tokens: who may ask a server that other machines reach (RFC 6750)."""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Mapping
from pathlib import Path

from lesionlens.errors import LesionLensError
from lesionlens.service.problems import Problem

#: Environment variable that holds a token.
TOKEN_VARIABLE = "LESIONLENS_TOKEN"
#: Shorter ones can be guessed. `token_urlsafe(32)` has 43 characters.
_LEAST_CHARACTERS = 24
_MAKE = "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes a good one"
#: `b64token` of RFC 6750, 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class Tokens:
    """The tokens that a server knows; none: everybody may ask."""

    def __init__(self, tokens: tuple[str, ...] = ()) -> None:
        self._tokens = tuple(token.encode("ascii") for token in tokens)

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def check(self, authorization: str) -> None:
        """Raise Problem unless an ``Authorization`` header holds a known token.

        How long that takes depends on the length of what was sent, not on how much of it is right.
        """
        if not self._tokens:
            return
        scheme, _, sent = authorization.partition(" ")
        if scheme.lower() != "bearer" or not sent.strip():
            raise Problem(
                "no_token",
                "Send the token that whoever runs this server gave you, in the header "
                "`Authorization: Bearer TOKEN`.",
                headers={"WWW-Authenticate": 'Bearer realm="lesionlens"'},
            )
        given = sent.strip().encode("utf-8", "replace")
        # All are compared, so that time does not tell which one was close.
        if not sum(hmac.compare_digest(given, token) for token in self._tokens):
            raise Problem(
                "wrong_token",
                "Look whether it was copied whole and is not an old one; whoever runs this server "
                "can give you another.",
                headers={"WWW-Authenticate": 'Bearer realm="lesionlens", error="invalid_token"'},
            )


def load_tokens(file: Path | None, *, environment: Mapping[str, str] = os.environ) -> Tokens:
    """Return the tokens of a file, else of the environment, else none.

    Never of the command line, which every user of a machine can read (``ps``).

    Args:
        file: one token a line, so that a new one can be handed out before the old one goes; empty
            lines and lines that begin with # do not count.
        environment: where ``$LESIONLENS_TOKEN`` is looked for.

    Raises:
        LesionLensError: the file cannot be read or has no token, or one is too short or has
            characters that a header may not have. A token is never quoted.
    """
    if file is None:
        value = environment.get(TOKEN_VARIABLE, "").strip()
        return Tokens((_checked(value, f"${TOKEN_VARIABLE}"),) if value else ())
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise LesionLensError(f"--token-file {file}: cannot be read ({why})") from error
    found = tuple(
        _checked(line.strip(), f"{file}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    )
    if not found:
        raise LesionLensError(f"--token-file {file}: has no token in it; {_MAKE}")
    return Tokens(found)


def _checked(token: str, where: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise LesionLensError(
            f"{where}: a token is one word of letters, digits and - . _ ~ + /; {_MAKE}"
        )
    if len(token) < _LEAST_CHARACTERS:
        raise LesionLensError(
            f"{where}: a token of {len(token)} characters can be guessed; it needs "
            f"{_LEAST_CHARACTERS} or more; {_MAKE}"
        )
    return token
