"""The page's server: its one file, and the JSON API that the page itself uses."""

import asyncio
import base64
import contextlib
import hashlib
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lpd_jax.runtime.arguments import check_number
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.web import asks, pictures
from lpd_jax.web.guards import Guard, checked_hosts
from lpd_jax.web.jobs import Job, Jobs, QueueFull
from lpd_jax.web.measures import as_text
from lpd_jax.web.quiet_end import hush_cancelled
from lpd_jax.web.studio import Studio

PAGE = Path(__file__).with_name("index.html")
MOST_BODY = pictures.MOST_BYTES * 3 // 2  # bytes; base64 takes four for three
BODY_SECONDS = 30.0
LONGEST_WAIT = 60.0  # seconds of one answer
CHECKED_AT_ONCE = 2  # uploads decoded, orders made: each may take a second and much memory


def make_app(
    studio: Studio, *, most_waiting: int = 64, time_limit: float = 120.0, hosts: Iterable[str] = ()
) -> Starlette:
    """The server of some models.

    Args:
        studio: of the models.
        most_waiting: jobs that wait beside the one that runs.
        time_limit: seconds that one may run.
        hosts: names by which others reach this server, beside its addresses and `localhost`.
    """
    page = PAGE.read_bytes()
    server = Server(studio, Jobs(most_waiting, time_limit), page)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        server.checking = anyio.Semaphore(CHECKED_AT_ONCE)
        server.jobs.start(studio.warm_up)
        yield
        server.jobs.close()

    return Starlette(
        routes=server.routes(),
        middleware=[Middleware(Guard, hosts=checked_hosts(hosts), policy=policy_of(page.decode()))],
        exception_handlers={
            UserError: on_user_error,
            HTTPException: on_http_error,
            Exception: on_defect,
        },
        lifespan=lifespan,
    )


class Server:
    """What each address answers."""

    def __init__(self, studio: Studio, jobs: Jobs, page: bytes):
        self.studio, self.jobs, self.page = studio, jobs, page
        self.checking: anyio.Semaphore  # of the event loop that serves

    def routes(self) -> list[Route]:
        return [
            Route("/", self.index),
            Route("/healthz", self.health),
            Route("/metrics", self.metrics),
            Route("/api/model", self.model),
            Route("/api/picture", self.picture, methods=["POST"]),
            *(Route(f"/api/{kind}", self.asked(kind), methods=["POST"]) for kind in asks.KINDS),
            Route("/api/jobs/{job}", self.job, methods=["GET", "DELETE"]),
            Route("/api/jobs/{job}/{file}", self.file),
        ]

    async def index(self, request: Request) -> Response:
        return Response(self.page, media_type="text/html", headers={"Cache-Control": "no-cache"})

    async def health(self, request: Request) -> Response:
        """503 once nobody works on the queue any more."""
        alive = self.jobs.is_alive
        ready = alive and self.studio.is_warm
        return JSONResponse({"alive": alive, "ready": ready}, 200 if alive else 503)

    async def metrics(self, request: Request) -> Response:
        return PlainTextResponse(as_text(self.jobs), media_type="text/plain; version=0.0.4")

    async def model(self, request: Request) -> Response:
        jobs = self.jobs
        queue = {"waiting": jobs.num_waiting, "most": jobs.most_waiting}
        limits = {"seconds": jobs.time_limit}
        described = self.studio.describe()
        described["limits"] |= limits
        return JSONResponse({**described, "queue": queue})

    async def picture(self, request: Request) -> Response:
        """Any picture file as a PNG that the page can cut."""
        media_type = media_type_of(request)
        if media_type.startswith("multipart/") or media_type == "application/json":
            text = f"Content-Type: got {shown(media_type)}, allowed is the file itself as the body"
            raise HTTPException(415, f"{text}: curl --data-binary @FILE")
        content = await read_body(request, pictures.MOST_BYTES)

        def convert() -> bytes:
            return pictures.png(pictures.shrunk(pictures.read_upload("picture", content)))

        async with self.checking:
            return Response(await run_in_threadpool(convert), media_type="image/png")

    def asked(self, kind: str) -> Callable[[Request], Any]:
        """Takes what is asked for, and puts it in the queue."""

        async def ask(request: Request) -> Response:
            media_type = media_type_of(request)
            if media_type != "application/json":
                got = shown(media_type)
                raise HTTPException(415, f"Content-Type: got {got}, allowed is application/json")
            wait = wait_of(request)
            content = await read_body(request, MOST_BODY)
            async with self.checking:
                work = await run_in_threadpool(self.check, kind, content)
            try:
                job = self.jobs.submit(kind, work)
            except QueueFull:
                most = self.jobs.most_waiting
                text = f"queue: got one more than wait, allowed are {most}; try again later"
                raise HTTPException(503, text, {"Retry-After": "5"}) from None
            return await self.answer(job, wait)

        return ask

    def check(self, kind: str, content: bytes) -> Any:
        return self.studio.work_for(
            asks.read_ask(kind, asks.read_object(content), self.studio.pipes)
        )

    async def job(self, request: Request) -> Response:
        """How it stands; or its end, for DELETE.

        Of two routes of one address a wrong method would be told the methods of the first.
        """
        job = self.find(request)
        if request.method != "DELETE":
            return await self.answer(job, wait_of(request))
        self.jobs.cancel(job)
        return JSONResponse({"job": job.id, "state": job.state})

    async def file(self, request: Request) -> Response:
        """A picture of a job. The names are those of its result: no path is looked at."""
        job, name = self.find(request), request.path_params["file"]
        files = job.result.files if job.result else {}
        if name == "animation.webp" and job.result and "frames.png" in files:
            frames, sprite = job.result.facts["frames"], files["frames.png"][1]
            is_clip = "steps" not in frames
            async with self.checking:
                content = await run_in_threadpool(
                    pictures.animation, sprite, frames["count"], is_clip
                )
            return Response(content, media_type="image/webp")
        if name not in files:
            names = ", ".join(files) or "none"
            raise HTTPException(404, f"file: got {shown(name)}, allowed are {names}")
        media_type, content = files[name]
        return Response(content, media_type=media_type)

    def find(self, request: Request) -> Job:
        job_id = request.path_params["job"]
        if (job := self.jobs.find(job_id)) is None:
            raise HTTPException(404, f"job: got {shown(job_id)}, allowed are those of a while ago")
        return job

    async def answer(self, job: Job, wait: float) -> Response:
        """How a job stands, once it has ended or `wait` seconds have passed."""
        if wait and not job.ended.done():
            await asyncio.wait([asyncio.wrap_future(job.ended)], timeout=wait)
        said: dict[str, Any] = {"job": job.id, "kind": job.kind, "state": job.state}
        if job.state in ("waiting", "running"):
            phase = job.phase if self.jobs.is_warm else "warming up"
            said |= {"phase": phase, "position": self.jobs.position(job)}
            said["compile_seconds"] = self.studio.compile_seconds
        if job.error:
            said["error"] = job.error
        if job.result:
            names = list(job.result.files)
            names += ["animation.webp"] if "frames.png" in names else []
            said |= job.result.facts
            said["files"] = {name: f"/api/jobs/{job.id}/{name}" for name in names}
        return JSONResponse(said, job.status)


def media_type_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def wait_of(request: Request) -> float:
    """Seconds that an answer may wait, of `?wait=20`."""
    text = request.query_params.get("wait", "0")
    number: float | str = text
    with contextlib.suppress(ValueError):
        number = float(text)
    return check_number("wait", number, 0, LONGEST_WAIT)


async def read_body(request: Request, most: int) -> bytes:
    """The body, once it is whole; HTTPException for one that is too long or takes too long."""
    length = request.headers.get("content-length", "0")
    too_long = HTTPException(413, f"body: got more, allowed are {most:,} bytes")
    if length.isdigit() and int(length[:20]) > most:
        raise too_long
    content = bytearray()
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for part in request.stream():
                content += part
                if len(content) > most:
                    raise too_long
    except TimeoutError:
        raise HTTPException(408, f"body: got part of it in {BODY_SECONDS:g} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "body: got part of it, allowed is a whole one") from None
    return bytes(content)


def policy_of(page: str) -> str:
    """The page may run its own script and style, and speak with this server: nothing else."""

    def hashes(tag: str) -> str:
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = (base64.b64encode(hashlib.sha256(part.encode()).digest()) for part in parts)
        return " ".join(f"'sha256-{digest.decode()}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


async def on_user_error(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


async def on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = error.detail
    if text == HTTPStatus(error.status_code).phrase:  # of Starlette: it names nothing
        path = shown(request.url.path)
        text = f"address: got {request.method} {path}, which is not here"
        if methods := (error.headers or {}).get("Allow"):
            known = ", ".join(sorted(methods.split(", ")))
            text = f"method: got {request.method} for {path}, allowed is {known}"
    return JSONResponse({"error": text}, error.status_code, error.headers)


async def on_defect(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "server: got an error of its own; its log has it"}, 500)


def listen(host: str, port: int) -> socket.socket:
    """A socket that browsers can reach; UserError where there cannot be one."""
    if not host:  # to the system that is every address: not what an empty variable of a shell means
        raise UserError("host: got '', allowed is an address of this machine; 0.0.0.0 is all")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        place = f"host, port: got {shown(host)}, {port}"
        reason = error.strerror or type(error).__name__
        raise UserError(f"{place}, allowed is a free one of this machine ({reason})") from None


def server_of(app: Starlette) -> uvicorn.Server:
    """What answers: `server_of(app).run(sockets=[listen(host, port)])`, until Ctrl-C or SIGTERM."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
        limit_concurrency=1000,
    )
    hush_cancelled()  # after the config, which sets the log up
    return uvicorn.Server(config)
