"""Files in Keras' cache: whole with the published hash, or a line that says why not; never half of one."""

import hashlib
import socket

import pytest

from pipeline.backend import keras
from pipeline.data import download
from pipeline.errors import UserError

CONTENT = b"what the publisher has" * 1000
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Where the file belongs in a cache that is empty."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models" / "some.h5"


@pytest.fixture
def origin(tmp_path):
    (tmp_path / "some.h5").write_bytes(CONTENT)
    return tmp_path / "some.h5"


def fetch(origin, file_hash=SHA256):
    return download.cached(origin.as_uri(), file_hash, "models", "some.h5 is not here", "put it there")


def unreachable(monkeypatch, failure):
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(keras.utils, "get_file", fail)


@pytest.mark.parametrize("file_hash", [MD5, SHA256], ids=["MD5", "SHA-256"])
def test_a_missing_file_is_downloaded_once(cached, origin, file_hash):
    assert fetch(origin, file_hash) == cached and cached.read_bytes() == CONTENT
    origin.unlink()
    assert fetch(origin, file_hash) == cached
    assert list(cached.parent.iterdir()) == [cached], "a temporary file or folder was left behind"


def test_what_a_killed_download_left_is_replaced_by_the_whole_file(cached, origin):
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT[:500])
    assert fetch(origin) == cached and cached.read_bytes() == CONTENT


def test_a_file_of_another_hash_is_refused_and_stays_where_the_download_fails(cached, origin):
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"weights of the user's own")
    origin.unlink()
    with pytest.raises(UserError, match="incomplete or another file") as refused:
        fetch(origin)
    assert str(cached) in str(refused.value) and "put it there" in str(refused.value)
    assert cached.read_bytes() == b"weights of the user's own"


def test_a_download_of_another_hash_is_refused_and_leaves_nothing(cached, origin):
    origin.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=r"some\.h5 is not here and the download failed"):
        fetch(origin)
    assert list(cached.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (
            Exception("URL fetch failure on https://host/some.h5: None -- [Errno -2] Name or service not known"),
            "(Name or service not known)",
        ),
        (Exception("URL fetch failure on https://host/some.h5: 404 -- Not Found"), "(Not Found)"),
        (TimeoutError("The read operation timed out"), "(The read operation timed out)"),
        (OSError(13, "Permission denied"), "(Permission denied)"),
        (ConnectionResetError(), "(ConnectionResetError)"),
    ],
)
def test_the_reason_of_a_failure_reads_as_the_system_says_it(cached, origin, monkeypatch, failure, said):
    unreachable(monkeypatch, failure)
    with pytest.raises(UserError) as refused:
        fetch(origin)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_download_has_a_time_out_and_nothing_else_gets_it(cached, origin, monkeypatch):
    time_outs = []
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: time_outs.append(socket.getdefaulttimeout()))
    with pytest.raises(UserError):
        fetch(origin)
    assert time_outs[0], "a download without a time-out can hang for ever"
    assert socket.getdefaulttimeout() is None
