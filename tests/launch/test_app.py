"""The page's command: it says where it is, serves, and stops; what is wrong is one line."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests import tiny

SCRIPT = tiny.REPOSITORY / "launch" / "app.py"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a process")
def test_it_serves_until_it_is_stopped(tmp_path):
    tiny.write_model_directory(tmp_path / "first")
    tiny.write_model_directory(tmp_path / "second", order="raster")
    options = ["--model=first", f"--more_models={tmp_path / 'second'}/", "--port=0"]
    process = subprocess.Popen(
        [sys.executable, SCRIPT, *options],
        cwd=tmp_path,
        env=tiny.process_environment(tmp_path / "cache"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("open http://127.0.0.1:"), process.communicate()
        address = line.split()[1]
        with urllib.request.urlopen(f"{address}api/model", timeout=60) as answer:
            names = [model["name"] for model in json.load(answer)["models"]]
        assert names == ["first", "second"]
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert b"<canvas" in answer.read()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors) == (130, "app.py: stopped\n")


def test_what_is_wrong_is_one_line(tmp_path):
    tiny.write_model_directory(tmp_path / "model")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = tiny.run_python(SCRIPT, "--model=model", f"--port={port}", cwd=tmp_path)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith(f"app.py: host, port: got '127.0.0.1', {port}, allowed is")
    twice = ["--model=model", "--more_models=./model"]
    told = tiny.run_python(SCRIPT, *twice, "--port=0", cwd=tmp_path)
    assert told.returncode == 2
    assert told.stderr == "app.py: more_models: got a second 'model', allowed is one of each name\n"
    for option, problem in (
        ("--time_limit=nan", "time_limit: got nan, allowed are numbers from 1.0 to 86,400.0\n"),
        ("--hosts=https://a.org", "hosts: got 'https://a.org', allowed are names"),
    ):
        told = tiny.run_python(SCRIPT, "--model=model", "--port=0", option, cwd=tmp_path)
        assert told.returncode == 2 and told.stderr.startswith(f"app.py: {problem}")
