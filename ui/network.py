"""The page's network: where it listens, whom it answers, and that it calls no other computer."""

import base64
import contextlib
import hmac
import ipaddress
import re
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import UserError

LARGEST_UPLOAD = 13_000_000  # bytes: a picture of 12 MB and what a form adds
LARGEST = 1_000_000  # bytes of any other request: a drawing has some 20,000
MOST_STORED = 1_000_000_000  # bytes of the visitors' pictures, which are kept for one to two hours
LONGEST = 1000  # characters of an address; no file system has longer names
CONNECTIONS = 400  # open at once; beyond, a request is answered with 503
UPLOAD, FILE = "/gradio_api/upload", "/gradio_api/file="
# All that the page asks for; Gradio serves more: its API, its documentation, monitoring, a proxy, recordings, editors.
ADDRESSES = re.compile(
    r"/|/theme\.css|/favicon\.ico|/assets/.+|/static/.+"
    # app_id: an open page asks for it until the page is there again after a crash, and then loads itself once more.
    r"|/gradio_api/(queue/join|queue/data|upload|upload_progress|component_server/|app_id|heartbeat/[\w-]+|file=.+)"
    r"|/config|/gradio_api/info"  # Gradio's client for Python, which the benchmarks use
)
# Nothing is loaded from elsewhere, and no other page shows this one in a frame. Gradio builds functions from texts.
HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
]


def check_free(host: str, port: int) -> None:
    """UserError where nothing can listen there: a port in use, an address that is not this computer's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot listen on {host}:{port} ({reason}); choose others with --host and --port") from error


def opened(host: str, port: int, password: str | None) -> str:
    """One line on what listening on this address opens; "" where only this computer can connect."""
    addresses = {address[0] for *_, address in socket.getaddrinfo(host, None)}
    if all(ipaddress.ip_address(address).is_loopback for address in addresses):
        return ""
    everyone = f"every computer that reaches port {port} of this one can use the page and have pictures kept here"
    if password:
        return f"{everyone}, with the password, which is sent unencrypted"
    return f"{everyone}; --password asks for one first"


def stay_home(host: str) -> None:
    """From now on this process connects to no other computer, whatever a request or a library asks for.

    Gradio fetches a picture that a request names by its address, and looks for news of itself.

    Args:
        host: the address that the page listens on.
    """
    home = {host, "127.0.0.1", "::1", "localhost", "0.0.0.0", "::", None}
    home |= {address[0] for *_, address in socket.getaddrinfo(host, None)}  # a name is asked for by its number

    def check(event: str, arguments: tuple) -> None:
        if event == "socket.getaddrinfo":
            target = arguments[0]
        elif event == "socket.connect" and isinstance(arguments[1], tuple):  # else a socket file
            target = arguments[1][0]
        else:
            return
        target = target.decode() if isinstance(target, bytes) else target
        if target not in home:
            raise PermissionError(f"this page calls no other computer, so not {target}")

    sys.addaudithook(check)


class Guard:
    """ASGI application around the page's own: what the page itself does not ask for is refused before Gradio sees it.

    Refused are a name in the Host header that is not this computer's (DNS rebinding), requests of other sites' pages,
    a missing or wrong password, addresses that the page does not need, files outside its folder, and large requests.

    Args:
        app: the page's ASGI application.
        host: the address that it listens on.
        files: the folder whose files Gradio may serve.
        password: that visitors must give by HTTP Basic authentication, with any name; None asks for none.
    """

    def __init__(self, app, host: str, files: Path, password: str | None):
        self.app, self.files, self.password = app, files.resolve(), password
        own = socket.gethostname().lower()
        self.names = {"localhost", host.lower(), own, f"{own}.local"}

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, reason = self.refusal(scope)
        if status:
            await _refuse(send, status, reason)
            return

        async def send_guarded(message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        await self.app(scope, receive, send_guarded)

    def refusal(self, scope) -> tuple[int, str]:
        """HTTP status and one line where a request is refused; (0, "") where it is let through."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if not self.is_own(host):
            return 421, "open this page by its IP address"
        if _is_of_another_site(scope["method"], host, headers):
            return 403, "this page answers no other site"
        if not self.is_known(headers.get("authorization", "")):
            return 401, "this page asks for a password"
        if len(scope["path"]) > LONGEST:
            return 414, "this page has no such address"
        if not ADDRESSES.fullmatch(scope["path"]):
            return 404, "this page has no such address"
        if scope["path"].startswith(FILE) and not self.may_serve(scope["path"].removeprefix(FILE)):
            return 403, "this page serves no such file"
        if scope["path"] == UPLOAD and _size(self.files) > MOST_STORED:
            return 507, "too many pictures were uploaded; come back in an hour"
        return _too_large(headers, LARGEST_UPLOAD if scope["path"] == UPLOAD else LARGEST)

    def is_own(self, host: str) -> bool:
        """Whether a Host header has a name of this computer's or a number, which no name server can point elsewhere."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:  # half a number in brackets
            return False
        return name in self.names or _is_number(name)

    def is_known(self, authorization: str) -> bool:
        """Whether an Authorization header has the password, or none is asked for."""
        if self.password is None:
            return True
        kind, _, encoded = authorization.partition(" ")
        try:
            _, _, given = base64.b64decode(encoded, validate=True).partition(b":")
        except ValueError:
            return False
        return kind.lower() == "basic" and hmac.compare_digest(given, self.password.encode())

    def may_serve(self, path: str) -> bool:
        """Whether a path leads to a file in the page's folder."""
        try:
            return Path(path).resolve().is_relative_to(self.files)
        except (OSError, ValueError):  # a circle of links, a null character
            return False


def _size(folder: Path) -> int:
    """Bytes of the files in a folder, which others may be removing meanwhile."""
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


def _is_number(name: str | None) -> bool:
    try:
        ipaddress.ip_address(name or "")
    except ValueError:
        return False
    return True


def _is_of_another_site(method: str, host: str, headers: dict[str, str]) -> bool:
    """Whether a browser asks on behalf of another site's page; a link to this page may be followed."""
    try:
        if "origin" in headers and urlsplit(headers["origin"]).netloc != host:
            return True
    except ValueError:  # no address
        return True
    elsewhere = headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
    follows = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    return elsewhere and not follows


def _too_large(headers: dict[str, str], largest: int) -> tuple[int, str]:
    """Refusal of a body that is too large or without end; the server itself cuts off what exceeds the length."""
    if "transfer-encoding" in headers:
        return 411, "say how long the request is"
    if int(headers.get("content-length", 0)) > largest:
        return 413, f"a request may have {largest:,} bytes"
    return 0, ""


async def _refuse(send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="page", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{reason}\n".encode()})
