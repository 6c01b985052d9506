"""`make play`: a page where photos are dropped and seen passing the pipeline on this computer.

The page is for whoever holds its address alone: it listens on loopback, answers to its own name and origin
only, and its path holds a token, so that no other page in the same browser can use it.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import secrets
import socket
import ssl
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click
import uvicorn
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from operations import options, page, program, terminal
from operations.errors import UserError

from .cloud import BUILD, LocalCloud
from .environment import HOST
from .playground import MAX_BYTES, MODES, MOST_FILES, Playground, RefusedError
from .stack import Stack, remove

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

FOLDER = Path(__file__).parent / "pages"
# What a presigned form adds to its file.
_FORM_BYTES = 64 * 1024


class Guard:
    """Lets through what this page itself asks: its own Host, and its own Origin wherever one is named.

    A page elsewhere whose name leads to 127.0.0.1 has another Host; a form or script of it another Origin.
    """

    def __init__(self, app: ASGIApp, origin: str) -> None:
        self.app = app
        self.origin = origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            origin = headers.get(b"origin", b"").decode("latin-1")
            own = headers.get(b"host", b"").decode("latin-1") == self.origin.removeprefix("http://")
            if not own or ((origin or scope["method"] != "GET") and origin != self.origin):
                await Response("This is for the playground's own page.", 403)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def application(playground: Playground, token: str, origin: str) -> ASGIApp:
    """The page and what it asks, all below `/<token>/`."""

    async def index(_: Request) -> Response:
        script = (FOLDER / "play.js").read_text("utf-8")
        template = page.templates(FOLDER).get_template("play.html.j2")
        text = template.render(
            chosen=playground.mode,
            limit=options.size(MAX_BYTES),
            modes=MODES,
            most=MOST_FILES,
            script=Markup(script),
            script_hash=page.digest(script),
        )
        kept_out = {"Content-Security-Policy": "frame-ancestors 'none'", "Cache-Control": "no-store"}
        return HTMLResponse(text, headers=kept_out)

    async def events(_: Request) -> Response:
        return StreamingResponse(playground.watch(), media_type="text/event-stream")

    async def uploads(request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(playground.announce, await request.json()))

    async def mode(request: Request) -> Response:
        await asyncio.to_thread(playground.set_mode, (await request.json())["mode"])
        return JSONResponse({})

    async def started(_: Request) -> Response:
        return JSONResponse({"started": await asyncio.to_thread(playground.redrive)})

    async def s3(request: Request) -> Response:
        size = int(request.headers.get("content-length", MAX_BYTES * 2))
        if size > MAX_BYTES + _FORM_BYTES:
            return Response("<Error><Message>The file is too large.</Message></Error>", 413)
        kind = request.headers.get("content-type", "")
        status, body = await asyncio.to_thread(forward, playground.stack, kind, await request.body())
        return Response(body, status, media_type="application/xml")

    async def refuse(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 400)

    @contextlib.asynccontextmanager
    async def following(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(playground.follow())
        yield
        task.cancel()

    routes = [
        Route("/", index),
        Route("/events", events),
        *[Route(f"/{one.__name__}", one, methods=["POST"]) for one in (uploads, mode, s3)],
        Route("/redrive", started, methods=["POST"]),
    ]
    app = Starlette(
        routes=[Mount(f"/{token}", routes=routes)],
        exception_handlers={RefusedError: refuse},
        lifespan=following,
    )
    return Guard(app, origin)


def forward(stack: Stack, kind: str, body: bytes) -> tuple[int, bytes]:
    """Hand a presigned form on to S3 as it came: no browser trusts the certificate made for this one run."""
    context = ssl.create_default_context(cafile=str(stack.cloud.ca_bundle))
    port = int(stack.cloud.endpoint_url.rpartition(":")[2])
    with contextlib.closing(
        http.client.HTTPSConnection(HOST, port, context=context, timeout=60)
    ) as connection:
        connection.request("POST", f"/{stack.bucket}", body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise UserError(
            f"Port {port} cannot be used: {os.strerror(error.errno or 0)}; choose another."
        ) from None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of the page (a free one by default).",
)
@click.option("--open", "as_page", is_flag=True, help="Open the page in the browser.")
def main(port: int, as_page: bool) -> None:
    """Keep the pipeline up on this computer, with a page to drop photos on; Ctrl-C ends all of it."""
    program.end_in_order()
    console = terminal.console()
    directory = BUILD / "play"
    try:
        with _listening(port) as listening, LocalCloud.start(directory) as cloud:
            console.print("Applying environments/local.tfvars (Terraform itself waits about a minute)")
            stack = Stack.deploy(cloud, console=console)
            origin = f"http://{HOST}:{listening.getsockname()[1]}"
            token = secrets.token_urlsafe(16)
            console.print(f"\nThe playground is at {origin}/{token}/ until Ctrl-C.", soft_wrap=True)
            if as_page:
                webbrowser.open(f"{origin}/{token}/")
            app = application(Playground(stack), token, origin)
            # Whoever watches would hold it up.
            config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
            uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        click.echo("The playground has ended; nothing is left running.")
    remove(directory)


if __name__ == "__main__":
    verbs = program.Verbs({"play": "localcloud.play:main"})
    program.run(verbs, "python -m localcloud.play", "play")
