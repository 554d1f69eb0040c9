"""ui/app.py before the page is there: what it needs, where it listens, and that it calls no other computer."""

import socket
import subprocess
import sys

import pytest
from conftest import PROJECT

from pipeline.errors import UserError
from ui import app


def run(code: str) -> tuple[int, str]:
    """Exit code and stderr of a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    return done.returncode, done.stderr


def test_its_help_needs_neither_gradio_nor_keras():
    missing = "import sys; sys.modules.update(dict.fromkeys(('gradio', 'keras', 'tensorflow', 'matplotlib')))"
    assert run(f"{missing}\nfrom ui import app\napp.main(['--help'])") == (0, "")


def test_without_gradio_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "ui.page", raising=False)
    with pytest.raises(UserError, match=r'Gradio.*pip install -e "\.\[ui\]"'):
        app.main(["--port", "65535"])


def test_a_port_in_use_is_bad_input():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="--port"):
        app.main(["--port", str(taken.getsockname()[1])])


def test_a_process_that_stays_home_reaches_itself_and_nobody_else():
    code = """
import asyncio, socket
from ui import network
network.stay_home("127.0.0.1")
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(("localhost", server.getsockname()[1])).close()
def refused(call):
    try: call()
    except PermissionError: return True
async def later(): await asyncio.open_connection("192.0.2.1", 80)
assert refused(lambda: socket.create_connection(("192.0.2.1", 80), 1))
assert refused(lambda: socket.getaddrinfo("example.invalid", 80))
assert refused(lambda: asyncio.run(later()))
"""
    assert run(code) == (0, "")


def test_a_page_may_call_itself_by_the_number_that_its_name_stands_for():
    code = """
import socket
from ui import network
network.stay_home("127.2")  # stands for 127.0.0.2, as the name of a computer for 127.0.1.1
with socket.create_server(("127.2", 0)) as server:
    socket.create_connection(("127.2", server.getsockname()[1])).close()
"""
    assert run(code) == (0, "")
