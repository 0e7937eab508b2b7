"""Other sites get nothing: neither by a request of theirs nor by a name that points here."""

import pytest

from lpd_jax.web.server import PAGE
from tests.web.fakes import FakePipeline, client_of


@pytest.fixture(scope="module")
def client():
    with client_of({"fake": FakePipeline()}, hosts=["paint.example.org"]) as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:8765"},
        {"host": "localhost.evil.example"},
        {"host": ""},
        {"host": "127.0.0.1.evil.example"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://localhost:1234"},  # another server of this machine
        {"origin": "file://localhost"},
        {"origin": "http://localhost@evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_requests_of_other_sites_are_refused(headers, client):
    for method, path in (("GET", "/api/model"), ("POST", "/api/draw"), ("DELETE", "/api/jobs/x")):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["error"].lower().startswith(f"{next(iter(headers))}: got ")
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "localhost:8765", "origin": "http://localhost:8765"},
        {"host": "LOCALHOST", "origin": "http://localhost"},
        {"host": "127.0.0.1:8765", "origin": "http://127.0.0.1:8765"},
        {"host": "[::1]:8765", "origin": "http://[::1]:8765"},
        {"host": "192.168.0.7:80", "sec-fetch-site": "same-origin"},
        {"host": "paint.example.org", "origin": "https://paint.example.org"},
        {"host": "127.0.0.1:8765", "origin": "https://paint.example.org"},  # behind a proxy
    ],
)
def test_the_page_itself_is_answered(headers, client):
    assert client.get("/api/model", headers=headers).status_code == 200


def test_no_preflight_is_answered(client):
    headers = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    answer = client.options("/api/draw", headers=headers)
    assert answer.status_code == 403


def test_every_answer_is_strict_and_sets_no_cookie(client):
    for path in ("/", "/api/model", "/healthz", "/metrics", "/nothing"):
        headers = client.get(path).headers
        assert "set-cookie" not in headers and "server" not in headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
    assert client.get("/").content == PAGE.read_bytes()
    answer = client.post("/")
    assert answer.status_code == 405
    assert answer.json()["error"] == "method: got POST for '/', allowed is GET, HEAD"
    answer = client.put("/api/jobs/some")
    assert answer.json()["error"].endswith("'/api/jobs/some', allowed is DELETE, GET, HEAD")
    assert sorted(answer.headers["allow"].split(", ")) == ["DELETE", "GET", "HEAD"]
    answer = client.get("/api/draw")
    assert answer.json()["error"] == "method: got GET for '/api/draw', allowed is POST"
