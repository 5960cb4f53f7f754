"""``lesionlens serve``: the classifier behind HTTP, for other systems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lesionlens.cli import console
from lesionlens.cli.options import ModelOption
from lesionlens.errors import LesionLensError


def serve(
    *,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. Others than this machine's own need a token, as they let "
            "other machines in; put a proxy with TLS before them."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 0,
    model: ModelOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes that judge; one per core without it.", show_default=False
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Who may ask: bearer tokens, one a line. Without it $LESIONLENS_TOKEN, else on "
            "this machine everybody.",
            show_default=False,
        ),
    ] = None,
    max_mib: Annotated[
        int, typer.Option(min=1, max=1024, help="Largest body of a request, in MiB.")
    ] = 64,
    waiting: Annotated[
        int,
        typer.Option(min=0, help="Requests that may wait; those beyond get 503 and Retry-After."),
    ] = 32,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds that a request may take.")
    ] = 30,
    rate: Annotated[
        float,
        typer.Option(min=0, help="Images a second that a client may send; 0: any number."),
    ] = 50,
    burst: Annotated[int, typer.Option(min=1, help="Images that a client may send at once.")] = 100,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="A proxy whose X-Forwarded-For is believed, so that limits are its clients' and "
            "not its own. Repeatable.",
            show_default=False,
        ),
    ] = None,
    access_log: Annotated[
        bool,
        typer.Option(help="Write a line of JSON a request to stderr: no name and no address."),
    ] = True,
) -> None:
    """Answer other systems over HTTP: an image in, the JSON of `predict` out.

    The address is printed on standard output once it answers. `POST /v1/predictions` takes an
    image as its body or several as a form, `GET /v1/model` says which model answers, `/healthz`,
    `/readyz` and `/metrics` are for whoever watches, `/openapi.json` describes it all. Nothing is
    stored. Ctrl-C or SIGTERM finishes what is here and ends with 0; a second ends at once.

    **Not a diagnosis.**

    **Examples**

        lesionlens serve --port 8000

        curl -s -F file=@lesion.jpg http://127.0.0.1:8000/v1/predictions

        lesionlens serve --host 0.0.0.0 --port 8000 --token-file tokens
    """
    console.require("serve", "serve", "fastapi", "uvicorn", "python_multipart", "prometheus_client")
    from lesionlens.addresses import is_loopback
    from lesionlens.runtime import usable_cores
    from lesionlens.service.journal import Journal
    from lesionlens.service.limits import MEBIBYTE, Limits
    from lesionlens.service.serving import serve as serve_until_stopped
    from lesionlens.service.tokens import TOKEN_VARIABLE, load_tokens

    tokens = load_tokens(token_file)
    if not is_loopback(host) and not tokens:
        raise LesionLensError(
            f"--host {host} lets other machines in, and nothing says which may ask: put a token "
            f"into a file that only you can read and give --token-file FILE, or set "
            f"${TOKEN_VARIABLE}. 127.0.0.1 needs none"
        )
    limits = Limits(
        max_bytes=max_mib * MEBIBYTE,
        max_waiting=waiting,
        timeout_s=timeout,
        rate_per_s=rate,
        burst=burst,
    )
    n_workers = workers or usable_cores()

    def ready(url: str) -> None:
        typer.echo(f"LesionLens answers, {n_workers} workers; Ctrl-C ends it.", err=True)
        if not is_loopback(host):
            typer.echo(
                "lesionlens: images and tokens travel unencrypted; see docs/serve.md for a proxy "
                "with TLS.",
                err=True,
            )
        typer.echo(url)

    serve_until_stopped(
        None if model is None else str(model),
        host=host,
        port=port,
        n_workers=n_workers,
        tokens=tokens,
        limits=limits,
        proxies=tuple(proxy or ()),
        journal=Journal(has_requests=access_log),
        on_ready=ready,
    )
