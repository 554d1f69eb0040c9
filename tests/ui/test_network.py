"""Whom the page answers: its own page in a browser, under this computer's name, with the password where one is set."""

import asyncio
import base64
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ui import data_uri, network

HOME = {"host": "127.0.0.1:7860"}


async def gradio(scope, receive, send):
    """Stands for Gradio's application: it answers everything."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"secret"})


@pytest.fixture
def ask(tmp_path):
    """Status, headers and body that a guarded application answers a request with."""

    def answered(path="/", method="GET", password=None, listens="0.0.0.0", **headers):
        said = []

        async def send(message):
            said.append(message)

        headers = {**HOME, **{name.replace("_", "-"): value for name, value in headers.items()}}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": pairs}
        guard = network.Guard(gradio, listens, tmp_path, password)
        with ThreadPoolExecutor(1) as pool:  # an open browser of another test has an event loop in this thread
            pool.submit(lambda: asyncio.run(guard(scope, None, send))).result()
        start, body = said
        return start["status"], dict(start["headers"]), body["body"]

    return answered


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "host", ["localhost:7860", "LOCALHOST", "127.0.0.1", "192.168.1.5:80", "[::1]:7860", f"{socket.gethostname()}:7860"]
)
def test_this_computer_is_known_by_its_numbers_and_its_name(ask, host):
    assert ask(host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "a b", "[", "\x7f"])
def test_a_foreign_name_gets_no_answer(ask, host):
    status, _, body = ask(host=host)
    assert status == 421 and b"secret" not in body


def test_the_name_that_the_page_listens_on_is_known(ask):
    assert ask(host="my-computer:7860", listens="my-computer")[0] == 200
    assert ask(host="my-computer:7860")[0] == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://127.0.0.1:8888"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"},
    ],
)
def test_a_page_of_another_site_gets_no_answer(ask, headers):
    for method in ("GET", "POST", "OPTIONS"):
        status, answered, body = ask("/gradio_api/queue/join", method, **headers)
        assert status == 403 and b"secret" not in body
        assert not [name for name in answered if name.startswith(b"access-control")]


def test_the_pages_own_requests_and_a_link_to_it_are_answered(ask):
    assert ask(origin="http://127.0.0.1:7860", sec_fetch_site="same-origin")[0] == 200
    assert ask(sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 200
    assert ask(method="POST", sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 403


@pytest.mark.parametrize(
    "given", ["", "Basic", "Basic !", "Basic \xe9", "Bearer secret", basic("me:Secret"), basic("secret")]
)
def test_without_the_password_nothing_is_answered(ask, given):
    for path in ("/", "/config", "/static/x", "/gradio_api/info", "/nowhere"):
        status, headers, body = ask(path, password="secret", authorization=given)
        assert status == 401 and headers[b"www-authenticate"].startswith(b"Basic") and body != b"secret"


def test_with_the_password_the_page_is_answered_whatever_the_name(ask):
    assert ask(password="päss:word", authorization=basic("me:päss:word"))[0] == 200
    assert ask(password="päss:word", authorization=basic(":päss:word"))[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/docs", "/openapi.json", "/monitoring", "/gradio_api/openapi.json", "/gradio_api/run/photo", "/x", "//", ""],
)
def test_an_address_that_the_page_does_not_need_is_not_there(ask, path):
    assert ask(path)[0] == 404


def test_only_files_in_the_pages_folder_are_served(ask, tmp_path):
    (tmp_path / "inside.png").touch()
    assert ask(f"/gradio_api/file={tmp_path}/inside.png")[0] == 200
    (tmp_path / "link.png").symlink_to("/etc/hostname")
    outside = ["/etc/hostname", f"{tmp_path}/../x", f"{tmp_path}/link.png", "ui/app.py", "http://127.0.0.1:22/", "\0"]
    assert ask("/static/" + "x" * 5000)[0] == 414
    for path in outside:
        assert ask(f"/gradio_api/file={path}")[0] == 403, path


def test_a_request_that_is_too_large_or_has_no_end_is_refused(ask):
    assert ask("/gradio_api/upload", "POST", content_length="12100000")[0] == 200
    assert ask("/gradio_api/upload", "POST", content_length="13000001")[0] == 413
    assert ask("/gradio_api/queue/join", "POST", content_length="1000001")[0] == 413
    assert ask("/gradio_api/queue/join", "POST", transfer_encoding="chunked")[0] == 411


def test_uploads_end_before_the_disk_is_full(ask, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "MOST_STORED", 10)
    (tmp_path / "hash").mkdir()
    (tmp_path / "hash" / "picture.png").write_bytes(bytes(9000))
    assert ask("/gradio_api/upload", "POST")[0] == 507
    assert ask()[0] == 200


def test_a_browser_is_told_to_load_nothing_from_elsewhere(ask):
    policy = ask()[1][b"content-security-policy"].decode()
    assert "default-src 'self'" in policy and "http" not in policy and "frame-ancestors 'self'" in policy


def test_what_an_open_address_opens_is_said_in_one_line():
    assert network.opened("127.0.0.1", 7860, None) == ""
    without, secured = (network.opened("0.0.0.0", 7860, password) for password in (None, "secret"))
    assert "7860" in without and "--password" in without and "\n" not in without
    assert "unencrypted" in secured and "secret" not in secured


def test_drawings_are_forgotten_after_an_hour(tmp_path):
    uris = ["data:image/png;base64," + base64.b64encode(content).decode() for content in (b"old", b"new")]
    old = data_uri.save(uris[0], tmp_path)
    os.utime(old, (time.time() - 2 * data_uri.KEPT,) * 2)
    (tmp_path / "digits-0.png").touch()
    os.utime(tmp_path / "digits-0.png", (0, 0))
    new = data_uri.save(uris[1], tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "digits-0.png", new])
