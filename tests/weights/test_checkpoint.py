"""Checkpoints: kept, read without their optimizer, and restored onto other meshes."""

import asyncio
import contextlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.event_loops import TasksEndFirstLoop
from lpd_jax.runtime.mesh import MeshConfig, make_mesh
from lpd_jax.weights.checkpoint import Checkpoints
from lpd_jax.weights.saved_runs import newest_step, saved_config, saved_params
from tests.buckets import folder_buckets


def make_state(step: int, mesh=None) -> dict:
    """Arrays of which each says what it is and when; the kernel is split in four."""
    kernel = jnp.arange(32.0).reshape(8, 4) + step
    if mesh is not None:
        kernel = jax.device_put(kernel, jax.NamedSharding(mesh, jax.P("fsdp", "tensor")))
    params = {"head": {"kernel": kernel, "bias": jnp.full(4, 0.5)}}
    moments = jax.tree.map(lambda leaf: leaf * 2, params)
    return {"step": jnp.asarray(step), "params": params, "opt_state": (moments, None)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three saved, two kept, from a mesh of eight devices."""
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    checkpoints = Checkpoints(folder, keep=2)
    mesh = make_mesh(MeshConfig(fsdp=2, tensor=2))
    for step in (1, 2, 3):
        checkpoints.save(step, make_state(step, mesh), {"next": step * 10}, {"seed": step})
    checkpoints.close()
    return folder


def test_the_newest_are_kept(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["2", "3"]
    assert newest_step(folder) == 3
    assert saved_config(folder) == {"seed": 3}


def test_state_comes_back_on_two_devices_as_it_was_on_eight(folder):
    mesh = make_mesh(MeshConfig(fsdp=2), num_devices=2)
    sharding = jax.NamedSharding(mesh, jax.P("fsdp"))
    whole = jax.NamedSharding(mesh, jax.P())

    def abstract(leaf):
        wanted = sharding if leaf.ndim == 2 else whole
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=wanted)

    checkpoints = Checkpoints(folder)
    state, position = checkpoints.restore(jax.tree.map(abstract, make_state(0)))
    checkpoints.close()
    assert position == {"next": 30}
    chex.assert_trees_all_equal(state, make_state(3))
    kernel = state["params"]["head"]["kernel"]
    assert [shard.data.shape for shard in kernel.addressable_shards] == [(4, 4)] * 2


def test_parameters_are_read_alone_on_one_device_and_nothing_is_written(folder):
    before = sorted(path for path in folder.rglob("*"))
    params, config = saved_params(folder)
    assert config == {"seed": 3}
    chex.assert_trees_all_equal(params, make_state(3)["params"])
    assert len(params["head"]["kernel"].devices()) == 1
    assert sorted(path for path in folder.rglob("*")) == before


def test_a_process_reads_parameters_onto_a_device_of_its_own(folder, monkeypatch):
    own = jax.local_devices()[1]
    monkeypatch.setattr(jax, "local_devices", lambda *_, **__: [own])
    params, _ = saved_params(folder)
    assert params["head"]["kernel"].devices() == {own}


def test_the_name_of_a_folder_is_no_pattern(tmp_path):
    """Orbax looked for what it had written in a folder called "run 1", and merged nothing."""
    folder = tmp_path / "run [1]" / "a?b*"
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        checkpoints.save(1, make_state(1), {}, {})
    chex.assert_trees_all_equal(saved_params(folder)[0], make_state(1)["params"])


def test_an_unfinished_checkpoint_does_not_count(tmp_path):
    for name in ("7.orbax-checkpoint-tmp-123", "notes"):
        (tmp_path / name).mkdir()
    assert newest_step(tmp_path) is None
    assert newest_step(tmp_path / "missing") is None


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(ValueError, match="^checkpoint folder: got .*, which holds no checkpoint"):
        saved_params(tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_numpy_states_are_saved_too(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, {"params": {"bias": np.ones(3, np.float32)}}, {}, {})
    checkpoints.close()
    chex.assert_trees_all_equal(saved_params(tmp_path / "checkpoints")[0], {"bias": np.ones(3)})


def test_the_average_of_the_parameters_is_taken_where_there_is_one(tmp_path):
    state = make_state(1)
    average = jax.tree.map(lambda leaf: leaf + 1, state["params"])
    in_optimizer = (*state["opt_state"], {"average": average, "num_updates": state["step"]})
    layouts = {
        "none": (state, state["params"]),
        "today's": (state | {"ema_params": average}, average),
        "that of before": (state | {"opt_state": in_optimizer}, average),
    }
    for name, (saved, wanted) in layouts.items():
        checkpoints = Checkpoints(tmp_path / name)
        checkpoints.save(1, saved, {}, {})
        checkpoints.close()
        chex.assert_trees_all_equal(saved_params(tmp_path / name)[0], wanted)


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_checkpoints_of_a_bucket_are_read_and_unfinished_ones_do_not_count(tmp_path, scheme):
    folder = f"{scheme}://bucket/run/checkpoints"
    with folder_buckets(tmp_path):
        checkpoints = Checkpoints(folder)
        for step in (1, 2):
            checkpoints.save(step, make_state(step), {"next": step}, {"seed": step})
        checkpoints.close()
        assert newest_step(folder) == 2
        params, config = saved_params(folder)
        chex.assert_trees_all_equal(params, make_state(2)["params"])
        assert config == saved_config(folder) == {"seed": 2}
        # A bucket cannot rename: this file is what is written last.
        (tmp_path / "bucket/run/checkpoints/2/commit_success.txt").unlink()
        assert newest_step(folder) == 1
        chex.assert_trees_all_equal(saved_params(folder)[0], make_state(1)["params"])


def test_where_orbax_does_not_write_checkpoints_are_copied_whole(tmp_path):
    folder, there = "s3://bucket/run/checkpoints", tmp_path / "bucket/run/checkpoints"
    with folder_buckets(tmp_path):
        checkpoints = Checkpoints(folder, keep=2, keep_every=2)
        for step in (1, 2, 3, 4, 5):
            checkpoints.save(step, make_state(step), {"next": step}, {"seed": step})
            assert newest_step(folder) == step
        checkpoints.close()
        assert sorted(path.name for path in there.iterdir()) == ["2", "4", "5"]
        (there / "6").mkdir()  # what a killed process leaves
        (there / "6" / "_METADATA").write_text("half")
        damage(there, 5)
        checkpoints = Checkpoints(folder, keep=2, keep_every=2)
        state, position = checkpoints.restore(make_state(0), warn=lambda text: None)
        chex.assert_trees_all_equal(state, make_state(4))
        assert position == {"next": 4}
        checkpoints.save(6, make_state(6), {"next": 6}, {"seed": 6})
        checkpoints.close()
        assert sorted(path.name for path in there.iterdir()) == ["2", "4", "6", "unreadable_5"]
        assert not (there / "6" / "_METADATA").exists()
        chex.assert_trees_all_equal(saved_params(folder)[0], make_state(6)["params"])


def test_processes_cannot_share_checkpoints_that_are_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with (
        folder_buckets(tmp_path),
        pytest.raises(UserError, match="^workdir: got 's3://bucket/run' in a run of 2 processes"),
    ):
        Checkpoints("s3://bucket/run")


def damage(folder, step):
    """Cuts the arrays of a checkpoint short, as a full disk or a lost machine does."""
    files = [path for path in (folder / str(step) / "state").rglob("d/*") if path.is_file()]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_an_unreadable_checkpoint_is_named_and_the_one_before_is_used(tmp_path):
    folder = tmp_path / "checkpoints"
    checkpoints = Checkpoints(folder, keep=3)
    for step in (1, 2, 3):
        checkpoints.save(step, make_state(step), {"next": step}, {"seed": step})
    checkpoints.close()
    damage(folder, 3)
    params_warnings, warnings = [], []
    params, config = saved_params(folder, params_warnings.append)
    chex.assert_trees_all_equal(params, make_state(2)["params"])
    assert config == {"seed": 2}
    checkpoints = Checkpoints(folder, keep=3)
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding),
        make_state(0),
    )
    state, position = checkpoints.restore(abstract, warnings.append)
    assert position == {"next": 2} and int(state["step"]) == 2
    assert len(warnings) == 1 and len(params_warnings) == 1
    start = f"checkpoint {folder / '3'}: cannot be read: "
    for warning in (*warnings, *params_warnings):
        assert warning.startswith(start) and warning.endswith("; taking the one before")
    # Its step can be saved again, and what was there is still there.
    assert checkpoints.latest_step() == 2 and (folder / "unreadable_3").is_dir()
    checkpoints.save(3, make_state(3), {"next": 3}, {"seed": 3})
    checkpoints.close()
    assert newest_step(folder) == 3
    damage(folder, 1), damage(folder, 2), damage(folder, 3)
    checkpoints = Checkpoints(folder)
    with pytest.raises(UserError, match=r"3: cannot be read: .*1: cannot be read: ") as error:
        checkpoints.restore(abstract, warnings.append)
    checkpoints.close()
    assert error.value.__cause__ is not None  # what the reader said stays to be seen
    assert newest_step(folder) == 3


def test_no_read_outlives_the_one_that_failed(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    state = {str(index): jnp.zeros(2) for index in range(50)}
    checkpoints.save(1, state, {}, {})
    checkpoints.close()
    damage(tmp_path, 1)
    left = []

    def close(loop):
        left.append(asyncio.all_tasks(loop))
        asyncio.SelectorEventLoop.close(loop)

    monkeypatch.setattr(TasksEndFirstLoop, "close", close)
    checkpoints = Checkpoints(tmp_path, read_only=True)
    with pytest.raises(ValueError, match="1: cannot be read: "):
        checkpoints.restore(state)
    checkpoints.close()
    restored = len(left)
    with pytest.raises(ValueError, match="1: cannot be read: "):
        saved_params(tmp_path)
    assert 0 < restored < len(left) and not any(left)


def test_what_a_run_replaces_while_it_is_read_is_read_anew(tmp_path, monkeypatch):
    """Export of a run that goes on, and keeps one checkpoint, failed now and then."""
    read, warned = Checkpoints.read_params, []
    with contextlib.closing(Checkpoints(tmp_path, keep=1)) as run:

        def save(step):
            run.save(step, make_state(step), {}, {"seed": step})
            run.wait()

        def read_slowly(checkpoints, step):
            if step == 1:
                save(2)
            return read(checkpoints, step)

        save(1)
        monkeypatch.setattr(Checkpoints, "read_params", read_slowly)
        params, config = saved_params(tmp_path, warned.append)
    assert config == {"seed": 2} and not warned
    chex.assert_trees_all_equal(params, make_state(2)["params"])


def test_some_checkpoints_stay_for_good(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1, keep_every=2)
    for step in (1, 2, 3, 4, 5):
        checkpoints.save(step, {"x": jnp.zeros(2)}, {}, {})
    checkpoints.close()
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["2", "4", "5"]
