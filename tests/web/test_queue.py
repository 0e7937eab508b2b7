"""One at a time, in order, of a bounded number: nobody's picture is lost, or somebody else's."""

import concurrent.futures
import http.client
import json
import threading
import time
import weakref

import numpy as np
import pytest

from lpd_jax.runtime.errors import UserError
from lpd_jax.web import jobs as jobs_module
from lpd_jax.web.jobs import Jobs, QueueFull, Result
from lpd_jax.web.server import listen
from lpd_jax.web.studio import Studio
from tests.web.fakes import FakePipeline, client_of, in_base64, picture_of, pixels, serving


@pytest.fixture
def pipe():
    pipe = FakePipeline()
    yield pipe
    pipe.gate.set()  # or the worker would wait for ever


@pytest.fixture
def client(pipe):
    with client_of({"fake": pipe}, most_waiting=3, time_limit=60) as client:
        yield client
        pipe.gate.set()


def submit(client, seed, **query):
    return client.post("/api/draw", json={"label": 0, "seed": seed}, params=query)


def hold(client, pipe):
    """One job that runs until the gate opens."""
    pipe.gate.clear()
    said = submit(client, 100).json()
    assert pipe.entered.wait(60)
    return said["job"]


def test_the_queue_is_bounded_tells_the_position_and_keeps_the_order(client, pipe):
    hold(client, pipe)
    waiting = [submit(client, seed).json() for seed in (1, 2, 3)]
    assert [said["position"] for said in waiting] == [1, 2, 3]
    assert {said["state"] for said in waiting} == {"waiting"}
    refused = submit(client, 4)
    assert refused.status_code == 503 and refused.headers["retry-after"]
    assert refused.json()["error"].startswith("queue: got one more than wait, allowed are 3")
    metrics = client.get("/metrics").text
    assert "\nlpd_page_waiting 3\n" in metrics and "\nlpd_page_running 1\n" in metrics
    pipe.gate.set()
    for said, seed in zip(waiting, (1, 2, 3), strict=True):
        done = client.get(f"/api/jobs/{said['job']}?wait=60")
        assert done.status_code == 200 and done.json()["generation"]["seed"] == seed
        picture = pixels(client.get(done.json()["files"]["picture.png"]).content)
        np.testing.assert_array_equal(picture, picture_of(seed, 0))
    assert pipe.seeds == [100, 1, 2, 3] and pipe.most_at_once == 1
    assert 'lpd_page_jobs_total{kind="draw",state="done"} 4' in client.get("/metrics").text


def test_what_is_cancelled_makes_room_and_is_not_drawn(client, pipe):
    running = hold(client, pipe)
    first, second, third = (submit(client, seed).json()["job"] for seed in (1, 2, 3))
    assert client.delete(f"/api/jobs/{second}").json() == {"job": second, "state": "cancelled"}
    assert client.get(f"/api/jobs/{third}").json()["position"] == 2
    gone = client.get(f"/api/jobs/{second}")
    assert gone.status_code == 410 and gone.json()["error"].startswith("job: got one that was")
    assert submit(client, 4).status_code == 202
    # Of the one that runs, who asked is told at once; the program goes on to its end.
    assert client.delete(f"/api/jobs/{running}").json()["state"] == "cancelled"
    assert client.get(f"/api/jobs/{running}?wait=60").status_code == 410
    pipe.gate.set()
    assert client.get(f"/api/jobs/{third}?wait=60").status_code == 200
    assert client.get(f"/api/jobs/{running}").status_code == 410
    assert pipe.seeds[:3] == [100, 1, 3]
    assert client.delete(f"/api/jobs/{first}").json()["state"] == "done"


def test_a_cancelled_edit_ends_before_its_next_window(client, pipe):
    picture = in_base64(np.zeros((8, 8, 3), np.uint8))
    body = {"label": 0, "picture": picture, "right": 24}
    whole = client.post("/api/outpaint?wait=60", json=body)
    assert whole.status_code == 200
    windows = len(pipe.seeds)
    assert windows >= 6  # each is drafted and painted
    pipe.gate.clear()
    pipe.entered.clear()
    job = client.post("/api/outpaint", json=body).json()["job"]
    assert pipe.entered.wait(60)
    client.delete(f"/api/jobs/{job}")
    pipe.gate.set()
    assert submit(client, 77, wait=60).status_code == 200
    assert len(pipe.seeds) == windows + 2 and pipe.seeds[-1] == 77


def test_what_takes_too_long_ends_and_the_next_is_drawn(pipe):
    with client_of({"fake": pipe}, time_limit=0.1) as client:
        late = hold(client, pipe)
        answer = client.get(f"/api/jobs/{late}?wait=60")
        assert answer.status_code == 504
        assert answer.json()["error"].startswith("time: got more than 0.1 s")
        pipe.gate.set()
        # What ended stays ended, though its program comes to its end.
        next_one = submit(client, 1, wait=60)
        assert next_one.status_code in (200, 504)
        assert client.get(f"/api/jobs/{late}").status_code == 504
        assert client.get("/healthz").json()["alive"]


@pytest.mark.parametrize(
    ("error", "status", "start"),
    [(UserError("mask: got 3"), 400, "mask: got 3"), (OSError("/etc/secret"), 500, "server: ")],
)
def test_what_fails_is_one_line_without_insides(error, status, start, client, pipe):
    pipe.error = error
    answer = submit(client, 1, wait=60)
    assert answer.status_code == status and answer.json()["error"].startswith(start)
    assert "secret" not in answer.text
    pipe.error = None
    assert submit(client, 2, wait=60).status_code == 200


def test_a_warm_up_that_fails_leaves_a_server_that_answers(pipe, caplog):
    def fail(*arguments, **options):
        raise RuntimeError("no memory")

    pipe.compile, compiles = fail, pipe.compile
    with client_of({"fake": pipe}) as client:
        for _ in range(100):
            if "warming up failed" in caplog.text:
                break
            time.sleep(0.05)
        assert client.get("/healthz").json() == {"alive": True, "ready": False}
        pipe.compile = compiles
        assert submit(client, 1, wait=60).status_code == 200


def test_who_comes_while_the_server_warms_up_is_told(pipe):
    warm = threading.Event()

    def compile_slowly(*arguments, **options):
        assert warm.wait(60)
        return 3.5

    pipe.compile = compile_slowly
    with client_of({"fake": pipe}) as client:
        try:
            assert not client.get("/healthz").json()["ready"]
            said = submit(client, 1).json()
            assert said["phase"] == "warming up" and said["compile_seconds"] is None
        finally:
            warm.set()
        done = client.get(f"/api/jobs/{said['job']}?wait=60")
        assert done.status_code == 200 and done.json()["seconds"]["compile"] == 3.5
        assert client.get("/healthz").json()["ready"]


def test_ended_jobs_are_kept_for_a_while(monkeypatch):
    def work(reach):
        return Result({}, {"picture.png": ("image/png", b"x" * 10)})

    jobs = Jobs(10, 60)
    jobs.start(lambda: None)
    try:

        def run():
            job = jobs.submit("draw", work)
            job.ended.result(60)
            return job

        first = run()
        assert jobs.find(first.id) is first and jobs.find("nobody") is None
        monkeypatch.setattr(jobs_module, "MOST_KEPT", 2)
        kept = [run(), run()]
        assert jobs.find(first.id) is None and all(jobs.find(job.id) for job in kept)
        monkeypatch.setattr(jobs_module, "MOST_KEPT_BYTES", 15)
        assert jobs.find(kept[0].id) is None and jobs.find(kept[1].id) is kept[1]
        monkeypatch.setattr(jobs_module, "KEPT_SECONDS", 0.0)
        assert jobs.find(kept[1].id) is None
    finally:
        jobs.close()
    with pytest.raises(QueueFull):
        jobs.submit("draw", work)


CLIENTS = 50


def test_fifty_at_once_each_get_their_own_picture(pipe):
    """Over real connections; all are in the queue before the first is drawn."""
    pipe.gate.clear()
    with serving(Studio({"fake": pipe}), most_waiting=CLIENTS) as port:
        try:
            with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
                drawn = [pool.submit(one_client, port, seed) for seed in range(CLIENTS)]
                while waiting_at(port) < CLIENTS - 1 and not any(one.done() for one in drawn):
                    time.sleep(0.02)
                pipe.gate.set()
                pictures = [one.result(120) for one in drawn]
        finally:
            pipe.gate.set()
    for seed, picture in enumerate(pictures):
        np.testing.assert_array_equal(picture, picture_of(seed, seed % 3))
    assert sorted(pipe.seeds) == list(range(CLIENTS)) and pipe.most_at_once == 1


def fetch(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def one_client(port, seed):
    status, content = fetch(port, "POST", "/api/draw?wait=60", {"label": seed % 3, "seed": seed})
    assert status == 200, content
    status, content = fetch(port, "GET", json.loads(content)["files"]["picture.png"])
    assert status == 200
    return pixels(content)


def waiting_at(port):
    return json.loads(fetch(port, "GET", "/api/model")[1])["queue"]["waiting"]


def test_an_address_that_is_taken_is_named():
    with listen("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(UserError, match=f"^host, port: got '127.0.0.1', {port}, allowed is"):
            listen("127.0.0.1", port)
    with pytest.raises(UserError, match="^host, port: got 'no.such.host.invalid'"):
        listen("no.such.host.invalid", 0)
    with pytest.raises(UserError, match="^host: got '', allowed is an address"):
        listen("", 0)  # would be reached from everywhere


def test_what_was_uploaded_is_not_kept():
    class Upload:
        def __call__(self, reach):
            return Result({}, {})

    jobs, begin = Jobs(10, 60), threading.Event()
    jobs.start(lambda: begin.wait(60))
    try:
        uploads = [Upload(), Upload()]
        held = [weakref.ref(upload) for upload in uploads]
        drawn, cancelled = (jobs.submit("inpaint", upload) for upload in uploads)
        del uploads
        jobs.cancel(cancelled)
        begin.set()
        drawn.ended.result(60)
        jobs.submit("draw", lambda reach: Result({}, {})).ended.result(60)
        assert [reference() for reference in held] == [None, None]
        assert jobs.find(drawn.id) is drawn and jobs.find(cancelled.id) is cancelled
    finally:
        begin.set()
        jobs.close()
