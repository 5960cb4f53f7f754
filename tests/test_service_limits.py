"""Rates and tokens, with a clock and an environment of the tests' own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="needs the server: pip install -e '.[serve]'")

from lesionlens.errors import LesionLensError
from lesionlens.service.limits import Rates, client_of
from lesionlens.service.problems import Problem
from lesionlens.service.tokens import TOKEN_VARIABLE, load_tokens

LONG = "a-token-of-thirty-characters-1"


class Clock:
    """Seconds as the test sets them."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def n_taken(rates: Rates, client: str, most: int = 100) -> int:
    """Return how many images a client can send now, one after the other."""
    for n in range(most):
        try:
            rates.check(client)
        except Problem:
            return n
        rates.charge(client, 1)
    return most


def test_a_client_has_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    rates = Rates(2.0, 5, clock=clock)
    assert n_taken(rates, "a") == 5
    assert n_taken(rates, "b") == 5
    clock.now += 1
    assert n_taken(rates, "a") == 2
    clock.now += 1000
    assert n_taken(rates, "a") == 5


def test_a_debt_is_paid_before_more_is_taken() -> None:
    clock = Clock()
    rates = Rates(2.0, 5, clock=clock)
    rates.charge("a", 11)
    with pytest.raises(Problem) as problem:
        rates.check("a")
    assert problem.value.headers["Retry-After"] == "4"  # (6 + 1) / 2, whole seconds
    clock.now += 3.5
    assert n_taken(rates, "a") == 1


def test_a_rate_of_none_is_no_limit_and_remembers_nobody() -> None:
    rates = Rates(0.0, 1, clock=Clock())
    assert n_taken(rates, "a") == 100


def test_clients_that_are_not_seen_any_more_are_forgotten() -> None:
    rates = Rates(1.0, 1, clock=Clock())
    rates.charge("first", 1)
    for number in range(Rates.MOST_CLIENTS):
        rates.charge(str(number), 1)
    assert n_taken(rates, "first") == 1
    assert n_taken(rates, str(Rates.MOST_CLIENTS - 1)) == 0


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("", "unix", False),
    ],
)
def test_a_network_that_one_client_has_whole_is_one_client(
    one: str, other: str, are_same: bool
) -> None:
    assert (client_of(one) == client_of(other)) is are_same


def test_tokens_come_from_a_file_and_else_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# of the archive\n{LONG}\n\n  {LONG}-new  \n")
    tokens = load_tokens(file, environment={TOKEN_VARIABLE: LONG + "-other"})
    tokens.check(f"Bearer {LONG}")
    tokens.check(f"Bearer {LONG}-new")
    with pytest.raises(Problem):
        tokens.check(f"Bearer {LONG}-other")
    load_tokens(None, environment={TOKEN_VARIABLE: LONG + "-other"}).check(f"Bearer {LONG}-other")
    assert not load_tokens(None, environment={})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "has no token in it"),
        ("# nothing\n", "has no token in it"),
        ("short\n", "line 1: a token of 5 characters can be guessed"),
        (f"{LONG}\nwith a space in it, and a comma\n", "line 2: a token is one word"),
        (f"{LONG}ü\n", "line 1: a token is one word"),
    ],
)
def test_a_token_that_is_none_is_refused_and_never_quoted(
    tmp_path: Path, content: str, words: str
) -> None:
    file = tmp_path / "tokens"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(LesionLensError, match=words) as error:
        load_tokens(file, environment={})
    assert "secrets.token_urlsafe" in str(error.value)
    assert LONG not in str(error.value)
    assert "comma" not in str(error.value)


def test_a_file_of_tokens_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(LesionLensError, match=r"nowhere: cannot be read \(No such file"):
        load_tokens(tmp_path / "nowhere", environment={})
