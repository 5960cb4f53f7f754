"""What the OpenAPI document promises, held by schemathesis against the real application.

It asks what the document allows, and what it does not: other types, missing and unknown
parameters, methods that no route has. Bodies that are images are drawn here, as OpenAPI has no
word for "a picture"; what else is in them is held by test_service. Its own pytest plugin is left
alone: it knows pytest 8.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the server: pip install -e '.[serve]'")
pytest.importorskip("schemathesis", reason="needs schemathesis: pip install -e '.[test]'")

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

import service_kit as kit
import tiny_model
from lesionlens.bundle import load_bundle
from lesionlens.service.bodies import IMAGE_TYPES
from lesionlens.service.pool import Pool
from service_kit import TOKEN, encoded

ROUTES = [
    ("POST", "/v1/predictions"),
    ("GET", "/v1/model"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
]
IMAGES = [encoded(form=form) for form in ("PNG", "JPEG", "WEBP", "TIFF", "BMP")]
schemathesis.openapi.format("binary", st.sampled_from(IMAGES))
for media_type in IMAGE_TYPES:
    schemathesis.openapi.media_type(media_type, st.sampled_from(IMAGES))


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document, and the application behind it; whoever asks needs a token."""
    bundle = tiny_model.write(tmp_path_factory.mktemp("model") / "bundle").directory
    pool = Pool(load_bundle(bundle), n_workers=1)
    service = kit.make_service(pool, bundle, host="0.0.0.0", tokens=(TOKEN,))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    yield schemathesis.openapi.from_asgi("/openapi.json", service, headers=headers)
    pool.close()


def check(described: Any, method: str, path: str, mode: GenerationMode, n_examples: int) -> None:
    """Ask a route many times and compare every answer with what the document says."""

    @settings(
        max_examples=n_examples,
        deadline=None,
        database=None,
        # The same requests every time: of some thousand bodies that it calls wrong, schemathesis
        # now and then writes one as a right one, which is then no fault of ours.
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=described[path][method].as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"})

    ask()


def test_all_routes_are_asked(described: Any) -> None:
    operations = [result.ok() for result in described.get_all_operations()]
    assert sorted((one.method.upper(), one.path) for one in operations) == sorted(ROUTES)


#: What a route without parameters does not allow is a method, which test_service asks for.
ASKED = [*((*route, GenerationMode.POSITIVE) for route in ROUTES)]
ASKED += [("POST", "/v1/predictions", GenerationMode.NEGATIVE)]


@pytest.mark.parametrize(("method", "path", "mode"), ASKED)
def test_a_route_does_what_the_document_says(
    described: Any, method: str, path: str, mode: GenerationMode
) -> None:
    check(described, method, path, mode, 30)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path", "mode"), ASKED)
def test_a_route_does_what_the_document_says_many_times(
    described: Any, method: str, path: str, mode: GenerationMode
) -> None:
    check(described, method, path, mode, 400)


@pytest.mark.slow
def test_schemathesis_finds_nothing_at_a_server_that_runs(tmp_path: Path) -> None:
    bundle = tiny_model.write(tmp_path / "bundle").directory
    hooks = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import {__name__}"
    (tmp_path / "hooks.py").write_text(hooks)
    with kit.Server("--model", bundle, "--rate", "0", token=TOKEN) as server:
        done = subprocess.run(
            [
                sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
                "run", f"{server.url}/openapi.json", "--max-examples", "50", "--seed", "1",
                "--header", f"Authorization: Bearer {TOKEN}", "--no-color",
                "--generation-database", "none", "--suppress-health-check", "all",
                "--request-timeout", "60",
            ],
            cwd=tmp_path, env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks"},
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]
    assert "5 selected" in done.stdout or "5 total" in done.stdout, done.stdout
