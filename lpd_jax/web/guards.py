"""Who may ask: this page alone, not another site that a browser has open as well.

A browser sends along which site a request comes from (`Origin`, `Sec-Fetch-Site`), and by which
name it reached the server (`Host`). A site that points its own name at this machine shows there.
"""

import ipaddress
import re
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lpd_jax.runtime.errors import UserError, shown

HOST_NAME = re.compile(r"[\w-]+(\.[\w-]+)*")


class Guard:
    """Refuses what other sites ask for, and tells browsers to be as strict."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], policy: str):
        """Args:
        hosts: names of this server; its addresses and `localhost` are known.
        policy: of the content of the page (`Content-Security-Policy`).
        """
        self.app, self.hosts = app, {host.lower() for host in hosts} | {"localhost"}
        self.headers = {
            "Content-Security-Policy": policy,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self.headers)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        problem = self.problem(Headers(scope=scope), scope["path"])
        if problem is None:
            await self.app(scope, receive, send_strict)
        else:
            await JSONResponse({"error": problem}, 403)(scope, receive, send_strict)

    def problem(self, headers: Headers, path: str) -> str | None:
        """What is wrong with where a request comes from; None if nothing is."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self.is_ours(name_of(host)):
            return f"Host: got {shown(host)}, allowed are this machine and the names in --hosts"
        if origin is not None and not self.is_same(origin, host):
            return f"Origin: got {shown(origin)}, allowed are this page's own and those in --hosts"
        site = headers.get("sec-fetch-site", "none")
        if path.startswith("/api") and site not in ("none", "same-origin"):
            return f"Sec-Fetch-Site: got {shown(site)}, allowed is this page's own"
        return None

    def is_ours(self, name: str) -> bool:
        if name in self.hosts:
            return True
        try:  # no other site has a number as its name
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def is_same(self, origin: str, host: str) -> bool:
        scheme, _, place = origin.lower().partition("://")
        # A proxy may call the server by another name than the browser does.
        known = place == host.lower() or name_of(place) in self.hosts - {"localhost"}
        return scheme in ("http", "https") and known


def checked_hosts(hosts: Iterable[str]) -> list[str]:
    """The names; UserError for an address with a port or a scheme, which no request is held to."""
    names = list(hosts)
    for name in names:
        if not HOST_NAME.fullmatch(name):
            raise UserError(
                f"hosts: got {shown(name)}, allowed are names as in paint.example.org, without "
                "https:// and port"
            )
    return names


def name_of(host: str) -> str:
    """The name in "name:port", "[::1]:port" or "name", in lower case."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
