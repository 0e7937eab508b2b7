"""What is wrong is one line that names it: it never waits, and nothing of the server shows."""

import gzip
import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lpd_jax.runtime.picture_files import read_picture
from lpd_jax.web import asks, pictures
from tests.web.fakes import FakePipeline, bomb, client_of, in_base64, pixels

PICTURE = in_base64(np.zeros((8, 8, 3), np.uint8))
MASK = [[1, 0, 0, 0]] + [[0] * 4] * 3
EDIT = {"label": 0, "picture": PICTURE, "mask": MASK}
GROW = {"label": 0, "picture": PICTURE, "left": 2}


@pytest.fixture(scope="module")
def client():
    with client_of({"fake": FakePipeline()}, most_waiting=10_000) as client:
        yield client


@pytest.mark.parametrize(
    ("kind", "body", "start"),
    [
        ("draw", {}, "label: got None"),
        ("draw", {"label": 3}, "label: got 3, allowed are whole numbers from 0 to 2"),
        ("draw", {"label": "owll"}, "label: got 'owll'"),
        ("draw", {"label": [0, 1]}, "label: got [0, 1]"),
        ("draw", {"label": {}}, "label: got {}"),
        ("draw", {"label": True}, "label: got True"),
        ("draw", {"label": 0, "sed": 1}, "sed: got an unknown field"),
        ("draw", {"label": 0, "mask": MASK}, "mask: got an unknown field"),
        ("draw", {"label": 0, "output_size": 4096}, "output_size: got an unknown field"),
        ("draw", {"label": 0, "model": "other"}, "model: got 'other', allowed are fake"),
        ("draw", {"label": 0, "model": ["fake"]}, "model: got ['fake']"),
        ("draw", {"label": 0, "num_steps": 17}, "num_steps: got 17"),
        ("draw", {"label": 0, "num_steps": 2.5}, "num_steps: got 2.5"),
        ("draw", {"label": 0, "order": "spiral"}, "order: got 'spiral'"),
        ("draw", {"label": 0, "order": [*range(16)]}, "order: got [0, 1"),
        ("draw", {"label": 0, "guidance_scale": "3"}, "guidance_scale: got '3'"),
        ("draw", {"label": 0, "guidance_schedule": 3}, "guidance_schedule: got 3"),
        ("draw", {"label": 0, "temperature": -1}, "temperature: got -1"),
        ("draw", {"label": 0, "top_k": 33}, "top_k: got 33"),
        ("draw", {"label": 0, "top_p": 2}, "top_p: got 2"),
        ("draw", {"label": 0, "seed": 2**32}, "seed: got 4294967296"),
        ("draw", {"label": 0, "frames": 1}, "frames: got 1"),
        ("inpaint", {"label": 0, "mask": MASK}, "picture: got none"),
        ("inpaint", EDIT | {"picture": 3}, "picture: got 3"),
        ("inpaint", EDIT | {"picture": "%%%"}, "picture: got '%%%', allowed is a picture file in"),
        ("inpaint", EDIT | {"picture": "AAAA"}, "picture: got no picture that can be read"),
        ("inpaint", {"label": 0, "picture": PICTURE}, "mask: got none, allowed are 4 rows of 4"),
        ("inpaint", EDIT | {"mask": [[0] * 4] * 4}, "mask: got one that repaints nothing"),
        ("inpaint", EDIT | {"mask": [[1] * 8] * 8}, "mask: got int64 (8, 8)"),
        ("inpaint", EDIT | {"mask": [[2] * 4] * 4}, "mask: got int64 (4, 4)"),
        ("inpaint", EDIT | {"mask": [[0.5] * 4] * 4}, "mask: got float64 (4, 4)"),
        ("inpaint", EDIT | {"mask": [[1], [1, 2]]}, "mask: got [[1], [1, 2]]"),
        ("inpaint", EDIT | {"mask": "all"}, "mask: got 'all'"),
        ("inpaint", EDIT | {"seam": -1}, "seam: got -1"),
        ("edit_class", EDIT | {"ignore_hidden": "yes"}, "ignore_hidden: got 'yes'"),
        ("outpaint", GROW | {"left": 3}, "left: got 3 pixels, allowed are multiples of 2"),
        ("outpaint", GROW | {"left": 26}, "top, bottom, left, right: got a canvas of 8x34"),
        ("outpaint", GROW | {"left": 10**9}, "top, bottom, left, right: got "),
        ("outpaint", GROW | {"left": -2}, "top, bottom, left, right: got "),
        ("outpaint", GROW | {"overlap": 3}, "overlap: got 3"),
    ],
)
def test_a_wrong_field_is_named(kind, body, start, client):
    answer = client.post(f"/api/{kind}", json=body)
    error = answer.json()["error"]
    assert answer.status_code == 400 and error.startswith(start), error
    assert "allowed" in error and "\n" not in error


@pytest.mark.parametrize(
    ("body", "start"),
    [
        (b'{"label": 0, "label": 1}', "body: got what cannot be read (it says 'label' twice)"),
        # Without the time of day, so that all processes of a test run know it by one name.
        (gzip.compress(b"{}", mtime=0), "body: got bytes that are no UTF-8, allowed is a JSON o"),
        (b"", "body: got what cannot be read"),
    ],
)
def test_a_body_that_is_no_plain_object_is_told(body, start, client):
    answer = client.post("/api/draw", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400 and answer.json()["error"].startswith(start)


def test_a_field_that_is_null_is_left_out(client):
    body = dict.fromkeys(("model", "seed", "overlap", "top", "seam")) | GROW
    assert client.post("/api/outpaint?wait=60", json=body).status_code == 200
    body = dict.fromkeys(("ignore_hidden", "seam", "model")) | EDIT
    assert client.post("/api/inpaint?wait=60", json=body).status_code == 200
    answer = client.post("/api/inpaint", json=EDIT | {"picture": None})
    assert answer.json()["error"].startswith("picture: got none")


def test_a_form_with_a_picture_is_told_how_to_send_it(client):
    answer = client.post("/api/picture", files={"file": ("a.png", b"abc")})
    assert answer.status_code == 415 and answer.json()["error"].endswith("curl --data-binary @FILE")


@pytest.mark.parametrize("form", pictures.TYPES)
def test_every_type_is_read(form, client):
    picture = in_base64(np.full((8, 8, 3), 200, np.uint8), form)
    answer = client.post("/api/inpaint?wait=60", json=EDIT | {"picture": picture})
    assert answer.status_code == 200


@pytest.mark.parametrize(("height", "width"), [(6, 8), (34, 8), (8, 9)])
def test_pictures_of_no_size_of_the_models_are_named(height, width, client):
    picture = in_base64(np.zeros((height, width, 3), np.uint8))
    error = client.post("/api/inpaint", json=EDIT | {"picture": picture}).json()["error"]
    assert error.startswith(f"picture: got a canvas of {height}x{width} pixels, allowed are 8x8")


def test_a_mask_that_no_window_holds_is_named(client):
    picture = in_base64(np.zeros((8, 16, 3), np.uint8))
    mask = [[1, *[0] * 6, 1]] + [[0] * 8] * 3
    error = client.post("/api/inpaint", json=EDIT | {"picture": picture, "mask": mask}).json()
    assert error["error"].startswith("mask: got cells 8 apart, allowed at once are 16")


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[1]", b"null", b'{"label": NaN}', b"[" * 10**5, b"1" * 5000, b'{"a"'],
)
def test_what_is_no_object_is_named(content, client):
    headers = {"content-type": "application/json"}
    answer = client.post("/api/draw", content=content, headers=headers)
    assert answer.status_code == 400 and answer.json()["error"].startswith("body: got ")


def test_other_types_than_json_are_refused(client):
    """A form of another site can send them without asking first."""
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = client.post("/api/draw", content=b"{}", headers={"content-type": media_type})
        assert answer.status_code == 415
        assert answer.json()["error"].startswith("Content-Type: got ")


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "x", "1e400", ""])
def test_a_wrong_wait_is_named(wait, client):
    answer = client.post(f"/api/draw?wait={wait}", json={"label": 0})
    assert answer.status_code == 400 and answer.json()["error"].startswith("wait: got ")


@pytest.mark.parametrize("declared", [True, False])
def test_long_bodies_are_not_read(declared, client, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_BYTES", 1000)
    content = b"x" * 2000 if declared else iter([b"x" * 600] * 4)
    answer = client.post("/api/picture", content=content)
    assert answer.status_code == 413
    assert answer.json()["error"] == "body: got more, allowed are 1,000 bytes"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a picture",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
        bomb(5000, 5000),
        bomb(30000, 30000),
        bomb(100, 100),
        b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        b"GIF89a" + b"\xff" * 100,
    ],
)
def test_hostile_uploads_are_one_line(content, client):
    answer = client.post("/api/picture", content=content)
    error = answer.json()["error"]
    assert answer.status_code == 400 and error.startswith("picture: got ")
    assert len(error) < 400 and "/" not in error.replace("://", "")


def test_an_upload_is_read_as_every_picture_is(client):
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    Image.fromarray(pixels_HWC).save(file, format="JPEG", exif=exif)
    answer = client.post("/api/picture", content=file.getvalue())
    assert answer.headers["content-type"] == "image/png"
    turned = pixels(answer.content)
    assert turned.shape == (30, 20, 3)
    np.testing.assert_array_equal(turned, np.asarray(read_picture(file.getvalue())))
    file = io.BytesIO()
    Image.new("RGB", (3000, 1500)).save(file, format="PNG")
    large = pixels(client.post("/api/picture", content=file.getvalue()).content)
    assert large.shape == (pictures.LONGEST_SIDE // 2, pictures.LONGEST_SIDE, 3)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/index.html",
        "/server.py",
        "/static/index.html",
        "/api/jobs/..%2f..%2fetc/passwd",
        "/api/jobs/x/../../../etc/passwd",
        "/api/jobs/nobody",
        "/api/jobs/nobody/picture.png",
        "/api",
    ],
)
def test_no_file_of_the_server_can_be_read(path, client):
    answer = client.get(path)
    assert answer.status_code == 404 and answer.json()["error"]
    assert "root:" not in answer.text and "import" not in answer.text


def test_names_of_files_are_those_of_the_result(client):
    said = client.post("/api/draw?wait=60", json={"label": 0, "frames": False}).json()
    for name in ("..%2f..%2fserver.py", "frames.png", "animation.webp", "picture.PNG"):
        answer = client.get(f"/api/jobs/{said['job']}/{name}")
        assert answer.status_code == 404
    assert "allowed are picture.png" in answer.json()["error"]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from([PICTURE, "data:", "raster", "owl", "fake"]),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)
names = sorted({name for kind in asks.KINDS for name in (*asks.COMMON, *asks.FIELDS_OF[kind])})
likely = {
    "label": st.integers(-1, 3),
    "picture": st.just(PICTURE),
    "mask": st.just(MASK),
    "num_steps": st.integers(0, 17),
    "seed": st.integers(-1, 2**33),
    "left": st.integers(-8, 40),
}


@st.composite
def bodies(draw):
    chosen = draw(st.lists(st.sampled_from(names), max_size=6, unique=True))
    start = draw(st.sampled_from([{}, {"label": 0}, EDIT, GROW]))
    return start | {name: draw(likely.get(name, json_values) | json_values) for name in chosen}


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(kind=st.sampled_from(asks.KINDS), body=bodies() | json_values)
def test_anything_is_drawn_or_refused_in_one_line(client, kind, body):
    headers = {"content-type": "application/json"}
    content = json.dumps(body).encode()
    answer = client.post(f"/api/{kind}?wait=10", content=content, headers=headers)
    assert answer.status_code in (200, 400), answer.text
    said = json.loads(answer.content)
    if answer.status_code == 400:
        # Refused before it waits: what comes into the queue can be drawn.
        assert "job" not in said and ": got" in said["error"] and len(said["error"]) <= 800
        assert len(said["error"].splitlines()) == 1
