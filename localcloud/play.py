"""`make play`: a page to drop photos on and watch them go through the pipeline on this computer.

The page is private to those who have its address: it listens on loopback, accepts only that host name, and
its path has a token, so that no other page in the same browser can use it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click
import uvicorn
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from operations import options, page, program, terminal

from .cloud import BUILD, HOST, listening
from .playground import MAX_BYTES, MODES, MOST_FILES, Playground
from .stack import deployed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

FOLDER = Path(__file__).parent / "pages"


def application(playground: Playground, token: str) -> Starlette:
    """The page and its endpoints, all below `/<token>/`."""

    async def index(_: Request) -> Response:
        script = (FOLDER / "play.js").read_text("utf-8")
        template = page.templates(FOLDER).get_template("play.html.j2")
        text = template.render(
            chosen=playground.mode,
            limit=MAX_BYTES,
            modes=MODES,
            most=MOST_FILES,
            script=Markup(script),
            size=options.size(MAX_BYTES),
            script_hash=page.digest(script),
        )
        headers = {"Content-Security-Policy": "frame-ancestors 'none'", "Cache-Control": "no-store"}
        return HTMLResponse(text, headers=headers)

    async def events(_: Request) -> Response:
        return StreamingResponse(playground.watch(), media_type="text/event-stream")

    async def upload(request: Request) -> Response:
        if int(request.headers["content-length"]) > MAX_BYTES:
            return JSONResponse({"error": "The file is too large."}, 413)
        body = await request.body()
        await asyncio.to_thread(playground.upload, request.path_params["name"], body)
        return JSONResponse({})

    async def mode(request: Request) -> Response:
        await asyncio.to_thread(playground.set_mode, (await request.body()).decode())
        return JSONResponse({})

    async def started(_: Request) -> Response:
        return JSONResponse({"started": await asyncio.to_thread(playground.redrive)})

    @contextlib.asynccontextmanager
    async def following(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(playground.follow())
        yield
        task.cancel()

    routes = [
        Route("/", index),
        Route("/events", events),
        Route("/upload/{name:path}", upload, methods=["POST"]),
        Route("/mode", mode, methods=["POST"]),
        Route("/redrive", started, methods=["POST"]),
    ]
    return Starlette(
        routes=[Mount(f"/{token}", routes=routes)],
        # Against DNS rebinding: a foreign page whose name resolves to 127.0.0.1 sends another host.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST])],
        lifespan=following,
    )


@click.command
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the page (a free one by default).")
@click.option("--open", "as_page", is_flag=True, help="Open the page in the browser.")
def main(port: int | None, as_page: bool) -> None:
    """Keep the pipeline up on this computer, with a page to drop photos on; Ctrl-C ends all of it."""
    console = terminal.console()
    directory = BUILD / "play"
    with listening(port) as listener, deployed(directory, console) as stack:
        token = secrets.token_urlsafe(16)
        address = f"http://{HOST}:{listener.getsockname()[1]}/{token}/"
        console.print(f"\nThe playground is at {address} until Ctrl-C.", soft_wrap=True)
        if as_page:
            webbrowser.open(address)
        app = application(Playground(stack), token)
        # Open event streams would delay the shutdown.
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    click.echo("The playground has ended; nothing is left running.")
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    program.run(program.Verbs({"play": "localcloud.play:main"}), "python -m localcloud.play", "play")
