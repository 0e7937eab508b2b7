"""Who draws for a study asks for the orders that a request would make, and makes them once."""

import jax
import numpy as np
import pytest

import lpd_jax
from lpd_jax.decoding import order_bank
from lpd_jax.runtime.errors import UserError
from lpd_jax.studies.avatars_study import batch_size_of, pipeline_draw
from lpd_jax.studies.steps_study import Point, StudySettings
from tests import tiny


def settings(pipe):
    generation = pipe.config.generation.updated({"seed": 4, "guidance_scale": 1.5})
    return StudySettings("tiny", "0123", "4567", 9, generation)


LABELS_B = np.arange(9) % 3


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The requests that a pipeline is asked to draw; nothing is compiled, banks are in a folder."""
    requests = []

    def draw(self, request, batch_size):
        requests.append(request)
        return np.zeros((len(request.labels), 8, 8, 3), np.uint8), None

    monkeypatch.setattr(lpd_jax.Pipeline, "compile", lambda self, request, batch_size: 0.0)
    monkeypatch.setattr(lpd_jax.Pipeline, "draw", draw)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return requests


@pytest.mark.parametrize("least", [9, 10], ids=["bank", "made"])
@pytest.mark.parametrize("thresholds", [{}, {"proximity_threshold": 0.5, "repulsion_threshold": 2}])
@pytest.mark.parametrize("kind", ["locality", "random"])
def test_a_point_is_drawn_in_the_orders_of_its_request(
    kind, thresholds, least, drawn, tmp_path, monkeypatch
):
    monkeypatch.setattr(order_bank, "LEAST_WORTH_KEEPING", least)
    directory = tiny.write_model_directory(tmp_path / "tiny", **thresholds)
    pipe = lpd_jax.Pipeline.from_pretrained(directory)
    pipeline_draw(pipe, settings(pipe))(LABELS_B, Point(kind, 5))
    want = pipe.request(LABELS_B, order=kind, num_steps=5, guidance_scale=1.5, seed=4)
    np.testing.assert_array_equal(drawn[0].order, want.order)
    np.testing.assert_array_equal(drawn[0].labels, want.labels)
    assert drawn[0].schedule == want.schedule and drawn[0].seed == 4
    assert drawn[0].guidance == want.guidance and drawn[0].sampling == want.sampling
    kept = list((tmp_path / "cache").rglob("*.npy"))
    assert len(kept) == (kind == "locality" and least == 9)


def test_a_par_model_is_asked_for_its_own_order(drawn, tmp_path):
    directory = tiny.write_model_directory(tmp_path / "par", tiny.PAR, order="region", num_steps=7)
    pipe = lpd_jax.Pipeline.from_pretrained(directory)
    steps = pipe.request([0]).schedule.num_steps
    pipeline_draw(pipe, settings(pipe))(LABELS_B, Point("region", steps))
    np.testing.assert_array_equal(drawn[0].order, pipe.request(LABELS_B).order)
    with pytest.raises(UserError, match="^order: got 'locality', allowed is 'region'"):
        pipeline_draw(pipe, settings(pipe))(LABELS_B, Point("locality", steps))


def test_seeds_and_thresholds_are_data_of_one_program(tmp_path):
    directory = tiny.write_model_directory(tmp_path / "tiny")
    pipe = lpd_jax.Pipeline.from_pretrained(directory)
    draw = pipeline_draw(pipe, settings(pipe), 5)
    point = Point("locality", 4)
    points = [point, point._replace(seed=1), point._replace(repulsion_threshold=0)]
    points += [point._replace(proximity_threshold=7.0), Point("halton", 4, seed=2)]
    drawings = [draw(LABELS_B, point) for point in points]
    assert pipe._runner.programs.num_compiled == 1
    assert [drawing.compile_seconds > 0 for drawing in drawings] == [True, *[False] * 4]
    assert len({drawing.images_BHWC.tobytes() for drawing in drawings}) == len(points)
    assert drawings[0].made_with["batch_size"] == 5 and drawings[0].made_with["device"]


@pytest.mark.parametrize(
    ("count", "most", "size"), [(2004, 512, 501), (24, 512, 24), (2004, 2004, 2004), (9, 5, 5)]
)
def test_batches_are_of_one_size(count, most, size, monkeypatch):
    assert batch_size_of(count, most) == size
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert batch_size_of(count) == batch_size_of(count, 512)


def test_a_cpu_draws_as_many_at_once_as_the_pipeline():
    assert (batch_size_of(2004), batch_size_of(12)) == (64, 4)
