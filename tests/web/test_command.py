"""lpd-page, as somebody starts and stops it."""

import http.client
import json
import re
import signal
import subprocess
import sys

import pytest

from tests import tiny


@pytest.mark.slow
def test_the_page_of_the_bundled_model_draws_judges_and_ends(tmp_path):
    command = [sys.executable, str(tiny.REPOSITORY / "launch" / "app.py"), "--port=0"]
    options = {"cwd": tmp_path, "env": tiny.process_environment(tmp_path / "cache"), "text": True}
    with subprocess.Popen(command, stdout=subprocess.PIPE, **options) as server:
        try:
            said = server.stdout.readline()
            port = int(re.fullmatch(r"open http://127\.0\.0\.1:(\d+)/ .*\n", said)[1])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
            status, job = ask(connection, "POST", "/api/draw", {"label": "micah", "seed": 7})
            while status == 202:
                status, job = ask(connection, "GET", f"/api/jobs/{job['job']}?wait=60")
            connection.close()
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(300) == 130
    assert status == 200, job
    assert job["classifier"]["name"] == "avatars12" and job["classifier"]["probability"] > 0.5
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "cache"])


def ask(connection, method, path, body=None):
    content = None if body is None else json.dumps(body)
    connection.request(method, path, content, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())
