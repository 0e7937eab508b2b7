"""Programs are bounded, and a pipeline pickles and copies without them."""

import copy
import pickle

import numpy as np
import pytest

import lpd_jax
from lpd_jax.generation.programs import Programs
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


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    path = tiny.write_model_directory(tmp_path_factory.mktemp("model") / "tiny")
    return lpd_jax.Pipeline.from_pretrained(path)


def test_a_pipeline_that_has_drawn_pickles_and_copies(pipe):
    before = pickle.loads(pickle.dumps(pipe))
    drawn_BN = pipe.generate_tokens([0, 1], num_steps=2, seed=1)
    for other in (before, pickle.loads(pickle.dumps(pipe)), copy.deepcopy(pipe)):
        np.testing.assert_array_equal(other.generate_tokens([0, 1], num_steps=2, seed=1), drawn_BN)
