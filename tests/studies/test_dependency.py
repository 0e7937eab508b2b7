"""The study finds a dependence that is known, and its report shows what was found."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lpd_jax.decoding.order import region_order
from lpd_jax.models.family import transformer_of
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.studies import dependency_plot, dependency_report, dependency_study
from lpd_jax.studies.dependency_study import Plan
from lpd_jax.studies.likelihoods import Likelihoods
from tests import tiny

PLAN = Plan(grid=(4, 4), references=((0, 0), (1, 2)), num_parallel=(4,))


class CopyWorld:
    """Every second token is a copy of the one to its left; all others are even chances of 8."""

    tokens_MN = np.zeros((5, 16), np.int32)
    nats = np.log(8)

    def partner(self, i):
        return i - 1 if i % 2 else i + 1

    def given_one(self, reference, class_given):
        known = [self.partner(i) == reference or i == reference for i in range(16)]
        return np.tile(np.where(known, 0.0, self.nats), (5, 1))

    def in_order(self, order_MN, schedule, class_given):
        group_N = schedule.group_of_rank()
        nats_MN = np.zeros(self.tokens_MN.shape)
        for m, order_N in enumerate(order_MN):
            step = dict(zip(order_N.tolist(), group_N, strict=True))
            for i in range(16):
                nats_MN[m, i] = 0.0 if step[self.partner(i)] < step[i] else self.nats
        return nats_MN


def test_the_study_finds_what_is_known_of_a_world_of_copies():
    rows = dependency_study.run(CopyWorld(), PLAN, progress=False)
    alone, corner, inside = rows["given_one"][:3]
    assert alone["reference"] is None and alone["gain"] is None
    assert alone["entropy"]["sum"] == pytest.approx(16 * CopyWorld.nats)
    assert corner["entropy"]["sum"] == pytest.approx(14 * CopyWorld.nats)
    assert corner["gain"]["sum"] == pytest.approx(CopyWorld.nats)
    gain_HW = np.zeros((4, 4))
    gain_HW[1, 3] = CopyWorld.nats
    assert inside["reference"] == [1, 2]
    np.testing.assert_allclose(inside["gain"]["map"], gain_HW)

    increase = {}
    for row in rows["parallel"]:
        assert row["sequential"]["sum"] == pytest.approx(8 * CopyWorld.nats)
        increase[row["order"], row["class_given"], row["shuffled"]] = row["increase"]
    # In raster order the two pairs of a row are drawn at once, in three rows of four; in region
    # order the two of a pair are in two groups, whichever comes first.
    for condition in dependency_study.CONDITIONS:
        assert increase["raster", *condition]["sum"] == pytest.approx(6 * CopyWorld.nats)
        assert increase["raster", *condition]["sum_error"] == pytest.approx(0)
        assert increase["region", *condition]["sum"] == pytest.approx(0)
    expected_HW = np.tile([0, CopyWorld.nats], (4, 2))
    expected_HW[0] = 0  # drawn one by one
    np.testing.assert_allclose(increase["raster", False, False]["map"], expected_HW)


def train_on_copies(config, num_steps):
    """A model of 2 x 4 tokens, every second a copy of the one to its left, without a class."""
    optimizer, loss = optax.adam(3e-3), transformer_of(config).loss(train=False)

    def train(params, key):
        def step(carry, key):
            params, state = carry
            data_key, loss_key = jax.random.split(key)
            batch = {"tokens": copies(data_key, 32), "labels": jnp.full(32, config.null_class)}
            grads, _ = jax.grad(loss, has_aux=True)(params, batch, loss_key)
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(
            step, (params, optimizer.init(params)), jax.random.split(key, num_steps)
        )
        return params

    # Drawn without compiling an initialiser, and so small that training is not slow to start.
    params = jax.tree.map(lambda leaf: 0.3 * leaf, tiny.random_params(config))
    return jax.jit(train, compiler_options=tiny.QUICK_TO_COMPILE)(params, jax.random.key(1))


def copies(key, num_images):
    return jnp.repeat(jax.random.randint(key, (num_images, 4), 0, 4), 2, axis=1)


@pytest.mark.slow
def test_a_trained_model_finds_copies_too():
    config = LPDConfig(1, 32, 2, 2, grid_size=(2, 4), codebook_size=4, num_classes=2)
    params = train_on_copies(config, num_steps=200)
    tokens_MN = np.asarray(copies(jax.random.key(2), 64))
    judge = Likelihoods(config, params, tokens_MN, np.zeros(64, np.int32), batch_size=64)
    plan = Plan(grid=(2, 4), references=((0, 2),), num_parallel=(4,))
    rows = dependency_study.run(judge, plan, progress=False)

    chance = np.log(4)
    gain_HW = np.array(rows["given_one"][1]["gain"]["map"])
    assert gain_HW[0, 3] == pytest.approx(chance, abs=0.15)
    gain_HW[0, 3] = 0
    np.testing.assert_allclose(gain_HW, 0, atol=0.1)
    for row in rows["parallel"]:
        # Rows at once hold two pairs, of which one row is drawn one by one.
        wanted = 2 * chance if row["order"] == "raster" else 0
        assert row["increase"]["sum"] == pytest.approx(wanted, abs=0.3), row["order"]


def test_shuffled_groups_stay_whole_and_differ_from_image_to_image():
    order_N = region_order((4, 4), 4)
    order_MN = dependency_study.shuffle_groups(order_N, 4, 6, seed=3)
    groups = {tuple(group) for group in order_N.reshape(-1, 4)}
    for row_N in order_MN:
        assert {tuple(group) for group in row_N.reshape(-1, 4)} == groups
    assert len({tuple(row_N) for row_N in order_MN}) > 1
    again = dependency_study.shuffle_groups(order_N, 4, 6, seed=3)
    np.testing.assert_array_equal(order_MN, again)


def test_mean_and_standard_error_by_hand():
    found = dependency_study.summary(np.array([[1.0, 2, 3, 4], [3, 2, 3, 8]]), (2, 2))
    assert found["map"] == [[2, 2], [3, 6]]
    np.testing.assert_allclose(found["map_error"], [[1, 0], [0, 2]])
    assert (found["sum"], found["sum_error"]) == pytest.approx((13, 3))


def test_images_are_chosen_by_the_seed_once_each():
    chosen = dependency_study.choose_images(7, 20, seed=1)
    assert len(set(chosen)) == 7 and list(chosen) == sorted(chosen)
    np.testing.assert_array_equal(chosen, dependency_study.choose_images(7, 20, seed=1))
    assert list(chosen) != list(dependency_study.choose_images(7, 20, seed=2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"references": ((0, 0), (4, 1))}, "references: got 4:1, allowed are 0:0 to 3:3"),
        ({"references": ((0, -1),)}, "references: got 0:-1, allowed are 0:0 to 3:3"),
        ({"references": ()}, "references: got an empty list"),
        ({"num_parallel": ()}, "num_parallel: got an empty list"),
        ({"num_parallel": (1,)}, "num_parallel: got 1, allowed are squares from 4 on"),
        ({"num_parallel": (4, 8)}, "num_parallel: got 8, allowed are squares whose root"),
        ({"num_parallel": (9,)}, "num_parallel: got 9, allowed are squares whose root"),
    ],
)
def test_a_plan_that_does_not_fit_the_grid_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAN, **change)


def test_other_bad_input_is_one_clear_line():
    with pytest.raises(ValueError, match="num_images: got 21, allowed are 2 to 20"):
        dependency_study.choose_images(21, 20, seed=0)
    with pytest.raises(ValueError, match="num_images: got 1, allowed are 2 to 20"):
        dependency_study.choose_images(1, 20, seed=0)
    with pytest.raises(ValueError, match="model: got 'my_par', a PAR model, allowed are ARPG, LPD"):
        dependency_study.check_model(tiny.PAR, "my_par")
    dependency_study.check_model(tiny.LPD, "my_lpd")
    clips = dataclasses.replace(tiny.LPD, grid_size=(4, *tiny.LPD.grid_size))
    with pytest.raises(ValueError, match="model: got 'my_clips', a model of clips, allowed are"):
        dependency_study.check_model(clips, "my_clips")


def test_default_references_are_in_every_grid():
    assert dependency_study.default_references((16, 16)) == ((0, 0), (4, 4), (8, 8), (12, 8))
    for grid in ((2, 2), (2, 4), (8, 6)):
        Plan(grid, dependency_study.default_references(grid), num_parallel=(4,))


@pytest.fixture
def study():
    rows = dependency_study.run(CopyWorld(), PLAN, progress=False)
    return {"title": "copies", "protocol": {"seed": 0, "commit": "abc"}, **rows}


def test_gain_by_distance_by_hand():
    gain_HW = np.arange(12.0).reshape(3, 4)
    row = {"reference": [1, 0], "gain": {"map": gain_HW.tolist()}}
    assert dependency_plot.gain_at_distance(row, 1, 1) == np.mean([0, 1, 5, 8, 9])
    assert dependency_plot.gain_at_distance(row, 2, None) == np.mean([2, 3, 6, 7, 10, 11])
    assert dependency_plot.gain_at_distance(row, 4, 7) is None


def test_report_has_the_numbers_the_plots_and_the_protocol(study, tmp_path):
    dependency_report.write(study, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(dependency_report.FILES)
    text = (tmp_path / "token_dependency.md").read_text()
    total = f"{6 * CopyWorld.nats:.1f} ± 0.0"
    assert f"| raster | in order | not given | 4 | 16.6 ± 0.0 | 29.1 ± 0.0 | {total} |" in text
    assert "| region | shuffled | not given | 4 | 16.6 ± 0.0 | 16.6 ± 0.0 | 0.0 ± 0.0 |" in text
    assert "| 0:0 | 29.1 ± 0.0 | 2.1 ± 0.0 | 0.69 |" in text and "- commit: abc" in text
    for name in dependency_report.FILES[:2]:
        assert f"({name})" in text
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    written = (tmp_path / "token_dependency.json").read_text()
    assert json.loads(written)["parallel"][0]["order"] == "region"
    row = next(r for r in study["parallel"] if r["order"] == "raster")
    line = json.dumps([round(x, 4) for x in row["increase"]["map"][1]])
    assert line in written  # a row of a map is a line
    # The numbers are enough to write the rest anew.
    dependency_report.write(json.loads(written), tmp_path)
    assert (tmp_path / "token_dependency.json").read_text() == written
    assert (tmp_path / "token_dependency.md").read_text() == text


def test_figures_show_every_reference_and_every_order(study):
    nothing, rows = dependency_report.given_one_rows(study, class_given=False)
    figure = dependency_plot.given_one_figure("t", nothing, rows)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["nothing given", "given 0:0", "given 1:2"]
    assert sum(len(ax.patches) for ax in figure.axes) >= 4  # each reference is framed, twice
    lines = next(ax for ax in figure.axes if ax.get_lines()).get_lines()
    assert [line.get_label() for line in lines] == ["0:0", "1:2"]
    np.testing.assert_allclose(lines[0].get_ydata()[0], CopyWorld.nats / 3)
    shown = [r for r in study["parallel"] if not r["class_given"] and not r["shuffled"]]
    figure = dependency_plot.at_once_figure("t", shown)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert [title.splitlines()[0] for title in titles] == [
        "region, 4 at a time:",
        "raster, 4 at a time:",
    ]
