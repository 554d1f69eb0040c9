"""The page as a server: every address that Gradio has is tried, with what is not meant for it."""

import http.client
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import PROJECT
from PIL import Image

pytest.importorskip("gradio", reason='optional: pip install -e ".[ui]"')
from ui import network

HOSTILE_PATHS = (
    "/etc/passwd",
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "....//....//etc/passwd",
    "/proc/self/environ",
    "C:\\Windows\\win.ini",
    "http://127.0.0.1:1/",
    "\0",
    "x" * 5000,
    "",
)
# What the page needs of what Gradio serves; every other address of it must be refused.
NEEDED = {
    "/",
    "/assets/{path:path}",
    "/config",
    "/favicon.ico",
    "/gradio_api/app_id",
    "/gradio_api/component_server/",
    "/gradio_api/file={path_or_url:path}",
    "/gradio_api/heartbeat/{session_hash}",
    "/gradio_api/info",
    "/gradio_api/queue/data",
    "/gradio_api/queue/join",
    "/gradio_api/upload",
    "/gradio_api/upload_progress",
    "/static/{path:path}",
    "/theme.css",
}


def ask(page, path, method="GET", body=None, timeout=60, **headers):
    """Status, headers and body; a stream is read up to its first bytes."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(page[0]).netloc, timeout=timeout)
    with_dashes = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, urllib.parse.quote(path, safe="/%=?&"), skip_host="Host" in headers)
    if body is not None:
        with_dashes = {"Content-Length": str(len(body)), **with_dashes}
    for name, value in with_dashes.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    reply = connection.getresponse()
    streams = "event-stream" in reply.headers.get("Content-Type", "")
    content = reply.read1(1000) if streams else reply.read()
    connection.close()
    return reply.status, reply.headers, content


def form(name: str, content: bytes) -> tuple[bytes, str]:
    """Body and content type of an upload."""
    head = f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    return head + content + b"\r\n--edge--\r\n", "multipart/form-data; boundary=edge"


def upload(page, name: str, content: bytes):
    body, kind = form(name, content)
    return ask(page, "/gradio_api/upload", "POST", body, Content_Type=kind)


def alive(page) -> bool:
    return ask(page, "/")[0] == 200


def picture(color: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (30, 30), color).save(content, "PNG")
    return content.getvalue()


def addresses() -> dict[str, set[str]]:
    """Every address that Gradio has -> its methods."""
    import gradio as gr
    from fastapi import FastAPI

    app = gr.mount_gradio_app(FastAPI(), gr.Blocks(), "/", ssr_mode=False)
    found, waiting = {}, list(app.routes)
    while waiting:
        route = waiting.pop()
        router = getattr(route, "original_router", route)  # of one that was included
        waiting += getattr(router, "routes", None) or []
        if getattr(route, "methods", None):
            found.setdefault(route.path, set()).update(route.methods)
    return found


def test_every_address_of_gradio_is_refused_but_for_those_that_the_page_needs(page, tried):
    found = addresses()
    assert len(found) > 40 and found.keys() >= NEEDED, "the list is Gradio's"
    refused = 0
    for path, methods in found.items():
        if path in NEEDED:
            continue
        filled = re.sub(r"{[^}]*}", "x", path)
        for method in methods:
            status = ask(page, filled, method)[0]
            assert status == 404, (method, filled, status)
            refused += 1
    assert alive(page)
    tried("an address of Gradio that the page does not need", times=refused, refused=refused)


def test_no_address_gives_a_file_outside_the_pages_folder(page, tried):
    secrets = [b"root:", b"PATH=", (PROJECT / "pyproject.toml").read_bytes()[:40]]
    paths = [*HOSTILE_PATHS, str(PROJECT / "pyproject.toml"), "pyproject.toml", "ui/app.py"]
    times = 0
    for needed in sorted(NEEDED):
        if "{" not in needed or "heartbeat" in needed:
            continue
        for path in paths:
            status, _, content = ask(page, re.sub(r"{[^}]*}", "", needed) + path)
            assert 400 <= status < 500, (needed, path, status)
            assert not any(secret in content for secret in secrets), (needed, path)
            times += 1
    assert alive(page)
    tried("a path that climbs out of the page's folder, or is absolute", times=times, refused=times)


def test_a_visitors_upload_is_found_by_nobody_who_does_not_have_it(page, tried):
    status, _, content = upload(page, "mine.png", picture("navy"))
    assert status == 200
    (path,) = json.loads(content)
    assert ask(page, f"/gradio_api/file={path}")[2] == picture("navy")
    folder, secret, _ = path.rsplit("/", 2)
    guesses = [folder, f"{folder}/", f"{folder}/*", f"{folder}/mine.png", f"{folder}/{'0' * len(secret)}/mine.png"]
    for guess in guesses:
        status, _, content = ask(page, f"/gradio_api/file={guess}")
        assert status in (403, 404) and secret.encode() not in content, guess
    assert ask(page, f"/gradio_api/file={folder}/{secret}")[0] in (403, 404), "a folder is not listed"
    tried("another visitor's upload guessed at", times=len(guesses), refused=len(guesses))


NAMES = ("x.html", "x.svg", "../../x.png", "/etc/x.png", "x" * 300 + ".png", "\N{SNOWMAN}.png", "..")


@pytest.mark.parametrize("name", NAMES)
def test_an_upload_of_any_name_stays_in_the_folder_and_is_no_page(page, name):
    status, _, content = upload(page, name, b"<html><script>alert(1)</script></html>")
    assert status in (200, 400)
    if status == 200:
        (path,) = json.loads(content)
        assert "/served/" in path and ".." not in path
        _, headers, _ = ask(page, f"/gradio_api/file={path}")
        shown = headers.get("Content-Type", "").split(";")[0] in ("text/html", "image/svg+xml")
        assert not shown or headers["Content-Disposition"].startswith("attachment")
    assert alive(page)


def test_requests_that_are_too_large_endless_or_no_requests_at_all_are_refused(page, tried):
    large = network.LARGEST_UPLOAD + 1
    refused = [
        ask(page, "/gradio_api/upload", "POST", Content_Length=str(large))[0] == 413,
        ask(page, "/gradio_api/queue/join", "POST", Content_Length=str(large))[0] == 413,
        ask(page, "/gradio_api/upload", "POST", Transfer_Encoding="chunked")[0] == 411,
    ]
    body, kind = form("x.png", bytes(12_900_000))
    refused.append(ask(page, "/gradio_api/upload", "POST", body, Content_Type=kind)[0] == 413)
    for content, kind in (
        (b"", "text/plain"),
        (b"not a form", "multipart/form-data; boundary=edge"),
        (b"no boundary", "multipart/form-data"),
        (b"--edge\r\n\r\n", "multipart/form-data; boundary=edge"),
    ):
        refused.append(400 <= ask(page, "/gradio_api/upload", "POST", content, Content_Type=kind)[0] < 500)
    unknown = b'{"fn_index": 99, "data": [], "session_hash": "x"}'
    for content in (b"", b"[]", b"{}", b"nonsense", b"[" * 100_000, unknown):
        for path in ("/gradio_api/queue/join", "/gradio_api/component_server/"):
            status = ask(page, path, "POST", content, Content_Type="application/json")[0]
            refused.append(status >= 400)
    assert all(refused), refused
    assert alive(page)
    tried("a request that is too large, endless or malformed", times=len(refused), refused=sum(refused))


def test_other_sites_and_other_names_get_no_answer(page, tried):
    assert ask(page, "/", Host="evil.example")[0] == 421
    assert ask(page, "/", Origin="http://evil.example")[0] == 403
    assert ask(page, "/gradio_api/queue/join", "POST", b"{}", Origin="null")[0] == 403
    assert ask(page, "/gradio_api/upload", "OPTIONS", Origin="http://evil.example")[0] == 403
    tried("a request with a foreign name, or of another site's page", times=4, refused=4)


@pytest.mark.long
def test_300_slow_visitors_hold_up_nobody_else(page, tried):
    host, port = urllib.parse.urlsplit(page[0]).netloc.split(":")
    slow = []
    try:
        for number in range(300):
            visitor = socket.create_connection((host, int(port)), timeout=30)
            if number % 2:
                visitor.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
            else:
                visitor.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000\r\n\r\nx")
            slow.append(visitor)
        begun = time.monotonic()
        assert alive(page)
        seconds = time.monotonic() - begun
        for visitor in slow:
            visitor.sendall(b"x")
    finally:
        for visitor in slow:
            visitor.close()
    assert seconds < 30
    tried("300 visitors who send a byte and wait, and one who asks meanwhile", times=300, answered=1)


@pytest.mark.long
def test_3000_connections_are_too_many_and_the_page_is_there_afterwards(page, tried):
    def status(_):
        try:
            return ask(page, "/theme.css")[0]
        except (OSError, http.client.HTTPException):
            return 0

    with ThreadPoolExecutor(600) as pool:
        said = list(pool.map(status, range(3000)))
    answered = said.count(200)
    assert answered > 100 and alive(page)
    tried("3,000 connections, 600 at once", times=3000, answered=answered, turned_away=3000 - answered)


@pytest.mark.long
def test_50_visitors_for_five_minutes(folder, tmp_path, tried):
    models = shutil.copytree(folder, tmp_path / "models")
    command = [sys.executable, str(PROJECT / "benchmarks" / "page_load.py"), "--output-dir", str(models)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((models / "benchmark_page_load.json").read_text())
    assert found["answers"] > 50 and found["memory_growth_mb"] < 200 and not found["files_left"], found
    counts = {name: found[name] for name in ("answers", "errors", "foreign_pictures", "files_left")}
    tried(
        "50 visitors at once for five minutes",
        times=50,
        **counts,
        p95_ms=round(found["p95_ms"]),
        memory_growth_megabytes=round(found["memory_growth_mb"]),
    )


@pytest.mark.long
def test_a_page_whose_server_is_killed_says_so_and_answers_again_once_it_is_back(folder, browser, says, tried):
    from ui import screenshots

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(PROJECT / "ui" / "app.py"), "--output-dir", str(folder), "--port", str(port)]

    def started():
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not screenshots.answers(address):
            assert process.poll() is None
            time.sleep(0.2)
        return process

    server = started()
    try:
        tab = browser.new_page()
        tab.set_default_timeout(120_000)
        tab.goto(address)
        tab.locator("#draw canvas[data-ready]").wait_for()
        screenshots.draw(tab)
        says(tab, "answer1", "7")  # killed while the page still loads, the server would leave a curtain over it
        server.kill()
        server.wait()
        screenshots.draw(tab)
        tab.locator("#draw .glance", has_text="no longer answers").wait_for()
        tab.get_by_text("Connection to the server was lost").first.wait_for()
        with tab.expect_navigation():  # by itself
            server = started()
        tab.locator("#draw canvas[data-ready]").wait_for()
        screenshots.draw(tab)
        says(tab, "answer1", "7")
        tab.close()
    finally:
        server.kill()
        server.wait()
    tried("kill -9 of the page's server while a visitor draws, then its start", times=1, answered_again=1)
