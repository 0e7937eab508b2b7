"""The API draws and edits what the pipeline does, pixel by pixel."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import lpd_jax
from lpd_jax.web.server import make_app
from lpd_jax.web.studio import Classifier, Studio
from tests import tiny
from tests.web.fakes import client_of, in_base64, pixels


@pytest.fixture(scope="module")
def pipe(tmp_path_factory, one_scan):
    path = tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")
    return lpd_jax.Pipeline.from_pretrained(path)


@pytest.fixture(scope="module")
def client(pipe):
    with client_of({"tiny": pipe}) as client:
        yield client


def ask(client, kind, **body):
    answer = client.post(f"/api/{kind}?wait=60", json=body)
    while answer.status_code == 202:  # compiles, where many share the cores
        answer = client.get(f"/api/jobs/{answer.json()['job']}?wait=60")
    assert answer.status_code == 200, answer.text
    return answer.json()


def fetch(client, said, name):
    answer = client.get(said["files"][name])
    assert answer.status_code == 200
    return answer.content


def mask_of(rows: slice, columns: slice, grid=(4, 4)) -> np.ndarray:
    mask_hw = np.zeros(grid, bool)
    mask_hw[rows, columns] = True
    return mask_hw


CHOICES = {"seed": 5, "order": "halton", "num_steps": 3, "temperature": 0.5, "guidance_scale": 3.0}


def test_the_model_is_described(client):
    said = client.get("/api/model").json()
    (model,) = said["models"]
    assert model["classes"] == tiny.CLASS_NAMES and model["grid"] == [4, 4]
    assert model["steps"] == list(range(1, 17)) and model["can_edit"] and model["cell"] == 2
    assert "locality" in model["orders"] and model["defaults"]["num_steps"] == 4
    assert said["choices"].keys() <= vars(lpd_jax.Generation()).keys()


def test_a_picture_and_its_frames_are_those_of_the_pipeline(client, pipe):
    said = ask(client, "draw", label="owl", **CHOICES)
    frames = [frame[0] for frame in pipe.stream("owl", **CHOICES)]
    np.testing.assert_array_equal(pixels(fetch(client, said, "picture.png")), frames[-1])
    sprite = pixels(fetch(client, said, "frames.png"))
    assert said["frames"] == {
        "count": 3,
        "columns": 2,
        "height": 8,
        "width": 8,
        "steps": [1, 2, 3],
    }
    for i, frame in enumerate(frames):
        top, left = i // 2 * 8, i % 2 * 8
        np.testing.assert_array_equal(sprite[top : top + 8, left : left + 8], frame)
    with Image.open(io.BytesIO(fetch(client, said, "animation.webp"))) as film:
        assert film.n_frames == 3
        film.seek(2)
        np.testing.assert_array_equal(np.asarray(film.convert("RGB")), frames[-1])


def test_ranks_and_steps_are_those_of_the_order(client, pipe):
    said = ask(client, "draw", label=1, frames=False, **CHOICES)
    request = pipe.request([1], **CHOICES)
    assert list(said["files"]) == ["picture.png"] and "frames" not in said
    assert np.argsort(said["ranks"]).tolist() == request.order[0].tolist()
    counts = np.bincount(said["steps"])
    assert tuple(counts) == request.schedule.group_sizes


def test_the_same_ask_gives_the_same_file_and_the_file_says_how_to_draw_it(client, pipe):
    first, second = (
        fetch(client, ask(client, "draw", label="dog", **CHOICES), "picture.png") for _ in range(2)
    )
    assert first == second
    with Image.open(io.BytesIO(first)) as image:
        said = json.loads(image.text["lpd_jax"])
    assert said["model"] == "tiny" and said["classes"] == ["dog"]
    again = pipe(said["labels"], **said["generation"])
    np.testing.assert_array_equal(pixels(first), again[0])


def test_a_classifier_says_how_sure_it_is(pipe):
    seen = []

    def probabilities(image_HWC):
        seen.append(image_HWC)
        return np.array([0.25, 0.05, 0.7], np.float32)

    studio = Studio({"tiny": pipe}, classifiers={"tiny": Classifier("its name", probabilities)})
    with TestClient(make_app(studio), base_url="http://localhost") as client:
        said = ask(client, "draw", label=0, frames=False, **CHOICES)
        image = pixels(fetch(client, said, "picture.png"))
    assert said["classifier"] == {"name": "its name", "probability": 0.25, "likeliest": 2}
    np.testing.assert_array_equal(seen[-1], image)


def test_many_steps_share_frames(client, monkeypatch):
    monkeypatch.setattr("lpd_jax.web.pictures.MOST_FRAMES", 4)
    said = ask(client, "draw", label=0, num_steps=16, order="raster", temperature=0.0)
    assert said["frames"]["count"] == 4 and said["frames"]["steps"] == [1, 6, 11, 16]
    sprite = pixels(fetch(client, said, "frames.png"))
    np.testing.assert_array_equal(sprite[8:, 8:], pixels(fetch(client, said, "picture.png")))
    assert (sprite[2:8, :8] == 160).all() and not (sprite[:2, :2] == 160).all()


@pytest.mark.parametrize("kind", ["inpaint", "edit_class"])
def test_an_edit_keeps_what_is_not_masked(kind, client, pipe):
    image = pipe([0], seed=1)[0]
    mask_hw = mask_of(slice(1, 3), slice(0, 2))
    body = {"label": "dog", "picture": in_base64(image), "mask": mask_hw.astype(int).tolist()}
    said = ask(client, kind, seed=7, **body)
    painted = pixels(fetch(client, said, "picture.png"))
    masked_HW = mask_hw.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(painted[~masked_HW], image[~masked_HW])
    assert (painted[masked_HW] != image[masked_HW]).any()
    np.testing.assert_array_equal(painted, pipe.inpaint(image, "dog", mask=mask_hw, seed=7)[0])


def test_a_picture_grows_and_is_repainted_in_a_window_of_the_models_size(client, pipe):
    image = pipe([0], seed=1)[0]
    said = ask(client, "outpaint", label=2, picture=in_base64(image), left=4, seed=3)
    wider = pixels(fetch(client, said, "picture.png"))
    assert wider.shape == (8, 12, 3)
    np.testing.assert_array_equal(wider[:, 4:], image)
    np.testing.assert_array_equal(wider, pipe.outpaint(image, 2, left=4, seed=3)[0])

    mask_hw = mask_of(slice(1, 2), slice(1, 4), (4, 6))
    body = {"picture": in_base64(wider), "mask": mask_hw.astype(int).tolist()}
    said = ask(client, "inpaint", label=2, **body)
    painted = pixels(fetch(client, said, "picture.png"))
    masked_HW = mask_hw.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(painted[~masked_HW], wider[~masked_HW])
    assert (painted[masked_HW] != wider[masked_HW]).any()


def test_pictures_that_are_not_exact_may_come_as_any_file(client):
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    mask = mask_of(slice(0, 1), slice(0, 1)).astype(int).tolist()
    text = in_base64(image, "BMP")
    lines = [text[start : start + 76] for start in range(0, len(text), 76)]
    text = "data:image/bmp;base64," + "\n".join(lines)  # as `base64` breaks them
    said = ask(client, "inpaint", label=0, picture=text, mask=mask)
    painted = pixels(fetch(client, said, "picture.png"))
    np.testing.assert_array_equal(painted[2:], image[2:])


def test_a_model_of_one_order_draws_and_says_that_it_cannot_edit(tmp_path, one_scan):
    path = tiny.write_model_directory(
        tmp_path / "par", tiny.PAR, order="region", num_steps=None, guidance_scale=1.0
    )
    with client_of({"par": lpd_jax.Pipeline.from_pretrained(path)}) as client:
        (model,) = client.get("/api/model").json()["models"]
        assert not model["can_edit"] and model["orders"] == ["region"] and len(model["steps"]) == 1
        image = pixels(fetch(client, ask(client, "draw", label=0), "picture.png"))
        body = {"label": 0, "picture": in_base64(image), "mask": np.ones((4, 4), int).tolist()}
        answer = client.post("/api/inpaint", json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error.startswith("model: got 'par', a PAR model") and str(tmp_path) not in error


def test_a_model_that_is_judged_at_another_size_draws_its_own(tmp_path, one_scan):
    sizes = [1, 1, 1, 13]
    path = tiny.write_model_directory(
        tmp_path / "judged", output_size=6, group_sizes=sizes, num_steps=None
    )
    pipe = lpd_jax.Pipeline.from_pretrained(path)
    with client_of({"judged": pipe}) as client:
        (model,) = client.get("/api/model").json()["models"]
        said = ask(client, "draw", label=0, num_steps=model["defaults"]["num_steps"])
        image = pixels(fetch(client, said, "picture.png"))
    assert image.shape == (8, 8, 3)
    np.testing.assert_array_equal(image, pipe.decode(pipe.generate_tokens([0]))[0])
    # As many steps as the model has by itself are those, of the same group sizes.
    assert np.bincount(said["steps"]).tolist() == sizes


def test_a_model_of_clips_draws_them_and_says_that_it_cannot_edit(tmp_path, one_scan):
    path = tiny.write_clip_model(tmp_path / "clips", guidance_scale=1.0)
    pipe = lpd_jax.Pipeline.from_pretrained(path)
    with client_of({"clips": pipe}) as client:
        (model,) = client.get("/api/model").json()["models"]
        assert model["draws_clips"] and not model["can_edit"] and model["cell"] == 4
        said = ask(client, "draw", label="owl", seed=3)
        clip_THWC = pipe("owl", seed=3)[0]
        first, sprite = (pixels(fetch(client, said, f"{x}.png")) for x in ("picture", "frames"))
        with Image.open(io.BytesIO(fetch(client, said, "animation.webp"))) as film:
            assert film.n_frames == 5
        body = {"label": 0, "picture": in_base64(first), "mask": np.ones((4, 4), int).tolist()}
        refused = client.post("/api/inpaint", json=body)
    np.testing.assert_array_equal(first, clip_THWC[0])
    assert said["frames"] == {"count": 5, "columns": 3, "height": 16, "width": 16}
    assert len(said["ranks"]) == 32 and said["grid"] == [2, 4, 4]
    for i, frame_HWC in enumerate(clip_THWC):
        top, left = i // 3 * 16, i % 3 * 16
        np.testing.assert_array_equal(sprite[top : top + 16, left : left + 16], frame_HWC)
    assert refused.status_code == 400
    assert refused.json()["error"].startswith("model: got 'clips', which draws clips")
