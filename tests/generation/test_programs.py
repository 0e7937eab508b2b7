"""Programs are bounded, and a pipeline pickles and copies without them."""

import concurrent.futures
import copy
import gc
import pathlib
import pickle
import sys
import time

import jax
import numpy as np
import pytest

import lpd_jax
from lpd_jax.generation import programs as programs_module
from lpd_jax.generation.programs import Programs, num_maps
from tests import tiny


def test_the_one_that_was_not_used_for_longest_is_compiled_again():
    programs, compiled = Programs(most=2), []

    def find(key):
        return programs.find(key, lambda: compiled.append(key) or f"program {key}")

    assert [find(key) for key in "abab"] == ["program a", "program b"] * 2
    assert compiled == ["a", "b"]
    find("c")  # a goes
    find("b")
    assert (compiled, len(programs)) == (["a", "b", "c"], 2)
    assert find("a") == "program a"
    assert (compiled, len(programs)) == (["a", "b", "c", "a"], 2)


def test_each_precision_of_products_has_a_program_of_its_own():
    programs = Programs()

    def precision():
        return programs.find("key", lambda: jax.config.jax_default_matmul_precision)

    for name in ("default", "highest", "default"):
        with jax.default_matmul_precision(name):
            assert precision() == name
    assert programs.num_compiled == 2


def test_threads_that_want_one_program_compile_it_once():
    programs, compiled = Programs(), []

    def compile_slowly():
        compiled.append(None)
        time.sleep(0.05)
        return object()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: programs.find("key", compile_slowly), range(8)))
    assert len(compiled) == len(found) == programs.num_compiled == 1


@pytest.mark.parametrize("bound", ["maps", pytest.param("bytes", marks=pytest.mark.slow)])
def test_the_bounds_of_a_process_hold_for_all_pipelines_together(monkeypatch, bound):
    first, second = Programs(), Programs()
    monkeypatch.setattr(programs_module, "_all", {first, second})
    monkeypatch.setattr(programs_module.gc, "collect", lambda: 0)  # a second in a large process

    def kept():
        return len(first) + len(second)

    if bound == "maps":  # a program has 10 of 60, of which half may be used
        monkeypatch.setattr(programs_module, "num_maps", lambda: 10 * kept())
        monkeypatch.setattr(programs_module, "most_maps", lambda: 60.0)
    else:
        monkeypatch.setattr(programs_module, "code_bytes", lambda program: 10)
        monkeypatch.setattr(programs_module, "MOST_BYTES", 30)
    for number in range(3):
        first.find(number, object)
    oldest = first.find(0, object)  # used last, so it stays
    for number in range(2):
        second.find(number, object)
        assert kept() == 3
    assert first.find(0, object) is oldest and len(first) == 1
    first.find(0, object)
    monkeypatch.setattr(programs_module, "most_maps", lambda: 0.0)
    second.find("what no bound allows is drawn with all the same", object)
    assert len(second) >= 1


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    path = tiny.write_model_directory(tmp_path_factory.mktemp("model") / "tiny")
    return lpd_jax.Pipeline.from_pretrained(path)


def test_a_pipeline_that_has_drawn_pickles_and_copies(pipe):
    before = pickle.loads(pickle.dumps(pipe))
    drawn_BN = pipe.generate_tokens([0, 1], num_steps=2, seed=1)
    for other in (before, pickle.loads(pickle.dumps(pipe)), copy.deepcopy(pipe)):
        np.testing.assert_array_equal(other.generate_tokens([0, 1], num_steps=2, seed=1), drawn_BN)


def test_a_pickle_holds_no_arrays_of_jax(pipe):
    """A process that was forked waits for ever for such an array, before anyone can tell it."""
    state = pipe._runner.__getstate__()
    leaves = jax.tree.leaves(state["params"])
    assert leaves and all(isinstance(leaf, np.ndarray) for leaf in leaves)


def random_sizes(rng: np.random.Generator, left: int) -> tuple[int, ...]:
    sizes = []
    while left:
        sizes.append(int(rng.integers(1, min(left, 5) + 1)))
        left -= sizes[-1]
    return tuple(sizes)


def resident_bytes() -> int:
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return 4096 * int(pages)


@pytest.mark.skipif(sys.platform != "linux", reason="counts what Linux tells of a process")
@pytest.mark.slow
@pytest.mark.parametrize(("num_requests", "most"), [(8, 2), (300, 8)])
def test_a_server_does_not_die_of_variety(tmp_path, one_scan, num_requests, most):
    """Maps and memory level off, and the oldest program draws the same once it is made anew."""
    pipe = lpd_jax.Pipeline.from_pretrained(tiny.write_model_directory(tmp_path / "tiny"))
    pipe._runner.programs.most = most
    rng = np.random.default_rng(0)
    schedules = [random_sizes(rng, 16) for _ in range(num_requests)]
    maps, memory = [], []
    for seed, sizes in enumerate(schedules):
        tokens_BN = pipe.generate_tokens([0], group_sizes=sizes, seed=seed)
        if seed == 0:
            first_BN = tokens_BN
        if seed % 4 == 0:  # another size of canvas each time, on the tokenizer's side
            side = 1 + seed // 4 % 16
            pipe.decode(np.zeros((1, 1, side), np.int32))
        assert len(pipe._runner.programs) <= most
        gc.collect()
        maps.append(num_maps())
        memory.append(resident_bytes())
    settled = slice(most, None)  # full from there on: as many come as go
    assert max(maps[settled]) - maps[most] < 200 * most
    # What no bound holds, JAX's traces among it, is less than a MB a request.
    assert memory[-1] - memory[most] < 2**20 * (64 + num_requests / 2)
    again_BN = pipe.generate_tokens([0], group_sizes=schedules[0], seed=0)
    np.testing.assert_array_equal(again_BN, first_BN)
