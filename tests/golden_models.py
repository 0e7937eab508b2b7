"""The official code's numbers for RandAR and ARPG (tests/golden), and ours for the same weights."""

import functools
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lpd_jax.decoding.sampling import Sampling
from lpd_jax.generation.generate import generate_ranked_tokens, image_keys
from lpd_jax.models.family import transformer_of
from lpd_jax.models.token_loss import cross_entropy
from lpd_jax.models.transformer_family import TeacherForced
from lpd_jax.weights.from_torch.conversion import from_torch, to_torch_names

GOLDEN = pathlib.Path(__file__).parent / "golden"


@functools.cache
def load(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


@functools.cache
def converted(name):
    golden = load(name)
    weights = {name[3:]: array for name, array in golden.items() if name.startswith("sd/")}
    config, params = from_torch(weights, int(golden["meta/n_head"]), int(golden["meta/grid"]))
    return config, jax.tree.map(jnp.asarray, params)


def released_shapes(name, model):
    """Names and shapes of a released checkpoint, by its title in the list of names."""
    text = (GOLDEN / f"{name}_names.txt").read_text(encoding="utf-8")
    section = re.search(rf"^# {re.escape(model)}\b.*?\n(.*?)(?=^#|\Z)", text, re.M | re.S)
    rows = [line.split("\t") for line in section[1].strip().splitlines()]
    return {name: tuple(map(int, re.findall(r"\d+", shape))) for name, shape in rows}


def teacher_forced(name, labels_B, order_BN, group_N):
    golden, (config, params) = load(name), converted(name)
    inputs = TeacherForced(
        golden["tokens"].astype(np.int32), np.asarray(labels_B, np.int32), order_BN, group_N
    )
    return jax.jit(lambda params: transformer_of(config).logits(params, inputs))(params)


def decoded(name, order_BN, schedule, guidance):
    """Argmax tokens in generation order, and guided logits."""
    config, params = converted(name)
    return generate_ranked_tokens(
        config,
        params,
        load(name)["labels"].astype(np.int32),
        order_BN,
        image_keys(0, 0, len(order_BN)),
        schedule=schedule,
        sampling=Sampling.make(temperature=0),
        guidance=guidance,
        keep_logits=True,
    )


def check_gradients(name, run, labels_B, order_BN):
    """Norms of all gradients of one token a step, and those that are stored whole."""
    golden, wanted = load(name), load(name.replace("_dev", "_grads_dev"))
    config, params = converted(name)
    tokens_BN = golden["tokens"].astype(np.int32)
    group_N = np.arange(config.num_tokens, dtype=np.int32)
    inputs = TeacherForced(tokens_BN, np.asarray(labels_B, np.int32), order_BN, group_N)
    targets_BN = np.take_along_axis(tokens_BN, order_BN, axis=1)

    def loss(params):
        return cross_entropy(transformer_of(config).logits(params, inputs), targets_BN)

    grads = jax.jit(jax.grad(loss))(params)
    np.testing.assert_allclose(optax.tree.norm(grads), wanted[f"{run}/grad_global_norm"], rtol=1e-4)
    got = to_torch_names(config, grads)
    names = wanted[f"{run}/grad_names"].tolist()
    assert got.keys() == set(names)
    norms = [np.linalg.norm(got[name]) for name in names]
    np.testing.assert_allclose(norms, wanted[f"{run}/grad_norms"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(sum(norms), wanted[f"{run}/grad_sum_of_norms"], rtol=1e-4)
    whole = [key for key in wanted if key.startswith(f"{run}/grad/")]
    assert whole or run != "train"
    for key in whole:
        array = got[key.removeprefix(f"{run}/grad/")]
        np.testing.assert_allclose(array, wanted[key], atol=1e-5, err_msg=key)
