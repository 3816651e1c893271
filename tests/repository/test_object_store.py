"""A repository on an object store: moto's imitation of S3, on loopback.

moto asks for sixty packages, whose versions pip looks for many minutes beside nerfstudio's: install it elsewhere, and
put its moto_server on the path.
"""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.storage import as_files
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.upkeep import index, verify

from ..commands import free_port
from ..keypoints.scenes import make_scene
from .processes import worker

SERVER = shutil.which("moto_server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="there is no moto_server on the path (pip install moto[server])")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URI of an empty bucket."""
    assert SERVER is not None
    port = free_port()
    settings = {"ACCESS_KEY_ID": "somebody", "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1", "ALLOW_HTTP": "true"}
    for name, value in {**settings, "ENDPOINT": f"http://127.0.0.1:{port}"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    command = [SERVER, "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        make_bucket(f"http://127.0.0.1:{port}/scenes")
        yield "s3://scenes"
    finally:
        server.kill()
        server.wait()


def make_bucket(address: str) -> None:
    """Asks for a bucket until the server is there."""
    signature = {"Authorization": "AWS4-HMAC-SHA256 Credential=somebody/20260101/us-east-1/s3/aws4_request"}
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(address, method="PUT", headers=signature), timeout=5)
            return
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_scenes_come_and_go_in_an_object_store(bucket: str) -> None:
    store = Store(f"{bucket}/repo", create=True)
    store.add([make_scene(50, i, id=f"s{i}") for i in range(3)])
    store.add([make_scene(60, 9, id="s1")])
    store.remove("s0")
    index(store)
    again = Store(f"{bucket}/repo")
    assert set(again.entries()) == {"s1", "s2"} and not verify(again)
    assert as_files(again.scene("s1")) == as_files(make_scene(60, 9, id="s1"))


def test_several_writers_lose_nothing_in_an_object_store(bucket: str) -> None:
    uri, count = f"{bucket}/repo", 2
    Store(uri, create=True)
    writers = [worker("write", uri, i, count) for i in range(3)]
    said = [process.communicate(timeout=240)[1] for process in writers]
    assert [process.returncode for process in writers] == [0] * 3, "".join(said)[-2000:]
    last = Store(uri)
    assert set(last.entries()) == {"shared", "0-1", "1-1", "2-1"}
    for i in range(3):
        assert as_files(last.scene(f"{i}-1")) == as_files(make_scene(20, 10 * i + 1, id=f"{i}-1"))


def test_what_is_not_there_is_one_sentence(bucket: str) -> None:
    with pytest.raises(UserError, match=r"s3://scenes/none is no repository: make one with condense repo add\."):
        Store(f"{bucket}/none")
    with pytest.raises(UserError, match="Repository s3://nowhere/repo cannot be opened"):
        Store("s3://nowhere/repo")
