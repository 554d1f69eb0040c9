"""Checkpoints in storage that has an address: a folder and, where moto is there, a bucket of its server on loopback."""

import uuid
from importlib.util import find_spec

import pytest

from pipeline.errors import UserError
from plan.archives import Archives, is_address

pytest.importorskip("pyarrow", reason='pyarrow is not installed: pip install -e ".[cluster]"')


def test_only_what_has_a_scheme_is_an_address():
    assert is_address("s3://bucket/runs") and is_address("file:///runs")
    assert not is_address(None) and not is_address("/runs") and not is_address("C:\\runs")


@pytest.fixture(params=["folder", "bucket"])
def address(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return (tmp_path / "a b").as_uri()
    if not (find_spec("moto") and find_spec("flask")):  # which its server needs
        pytest.skip('there is no S3 server: pip install "moto[server]"')
    from moto.server import ThreadedMotoServer

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of the test")
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    request.addfinalizer(server.stop)
    host, port = server.get_host_and_port()
    from pyarrow import fs

    there = fs.S3FileSystem(
        endpoint_override=f"{host}:{port}", scheme="http", region="us-east-1", allow_bucket_creation=True
    )
    bucket = f"bucket-{uuid.uuid4().hex}"
    there.create_dir(bucket)
    return f"s3://{bucket}/runs?scheme=http&endpoint_override={host}:{port}&region=us-east-1"


def test_an_archive_is_read_by_another_machine_replaced_and_deleted(address):
    here, there, elsewhere = Archives(address, "plan"), Archives(address, "plan"), Archives(address, "other")
    assert there.read("one-seed0") is None
    here.write("one-seed0", b"first")
    here.write("one-seed0", b"second")
    assert there.read("one-seed0") == b"second" and there.read("one") is None
    assert elsewhere.read("one-seed0") is None, "another plan's runs have the same names"
    there.delete("one-seed0")
    there.delete("one-seed0")
    assert here.read("one-seed0") is None


@pytest.mark.parametrize("address", ["nothing://bucket/runs", "file:///dev/null/runs", "file:relative"])
def test_storage_that_cannot_be_written_to_is_one_line(address):
    with pytest.raises(UserError, match="cannot be written to"):
        Archives(address, "plan")
