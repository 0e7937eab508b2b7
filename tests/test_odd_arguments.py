"""Arguments of any type: what cannot be meant is one line that names the argument."""

import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

import lpd_jax
from lpd_jax import decoding, images, models
from lpd_jax.evaluation import metrics
from lpd_jax.generation.request import make_request
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.par_layout import PARConfig
from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.hub import find_model_directory
from tests import tiny

ODD = {
    "object": object(),
    "bytes": b"x",
    "texts": np.array(["cat"]),
    "no numbers": np.array([]),
    "objects": np.array([None, {}]),
    "complex": 1j,
    "1e300": 1e300,
    "nan": float("nan"),
    "inf": float("inf"),
    "-1": -1,
    "2**31": 2**31,
    "2**64": 2**64,
    "10**5000": 10**5000,
    "{}": {},
    "set": {1},
    "number in text": "0.7",
    "long": "a" * 10_000,
    "zero byte": "a\0b",
    "nobody's home": "~no_such_user/x",
    "path": pathlib.Path("x/y/z"),  # x/y could be on the hub, which is asked for 23 seconds
    "ragged": [[1, 2], [3]],
    "[None]": [None],
    "long range": range(10**9),
    "floats": jnp.arange(4.0),
    "endless view": np.broadcast_to(np.uint8(1), (10**6, 10**6)),
    "date": np.datetime64("2020-01-01"),
    "masked": np.ma.masked_array([1, 2], [True, False]),
}
CONFIG = DirectoryConfig(tiny.LPD, tiny.VQ, (8, 8), ("cat", "dog", "owl"))
SCHEDULE = decoding.make_schedule(16, 4)
FEATURES = np.random.default_rng(0).normal(size=(20, 4))
STATISTICS = metrics.feature_statistics(FEATURES)
PICTURES = np.zeros((2, 8, 8, 3), np.uint8)


def fields(config):
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


# Function, and arguments of which one at a time is replaced.
CASES = {
    "Pipeline": (find_model_directory, {"name_or_dir": "avatars12"}),
    "Generation": (lpd_jax.Generation, fields(lpd_jax.Generation())),
    "request": (
        lambda **given: make_request(CONFIG, **given),
        {"labels": [0], "order": "raster", "num_steps": 4, "top_k": 0, "top_p": 0.5, "seed": 0},
    ),
    "from_torch": (lpd_jax.from_torch, {"state_dict": {}, "num_heads": 2, "grid_size": 4}),
    "DirectoryConfig": (DirectoryConfig, fields(CONFIG)),
    "LPDConfig": (LPDConfig, fields(tiny.LPD)),
    "PARConfig": (PARConfig, fields(tiny.PAR)),
    "VQConfig": (VQConfig, fields(tiny.VQ)),
    "find_model": (models.find_model, {"name": "lpd_l"}),
    "find_family": (models.find_family, {"name": "lpd"}),
    "config_from_dict": (models.config_from_dict, {"mapping": {}}),
    "make_schedule": (decoding.make_schedule, {"num_tokens": 16, "num_steps": 4}),
    "group_sizes": (decoding.GroupSchedule, {"group_sizes": (1, 2)}),
    "training_schedules": (decoding.training_schedules, {"num_tokens": 16}),
    "Guidance": (decoding.Guidance.make, {"scale": 1.0, "schedule": "linear"}),
    "Sampling": (decoding.Sampling.make, {"temperature": 1.0, "top_k": 0, "top_p": 1.0}),
    "make_order": (
        decoding.make_order,
        {
            "kind": "random",
            "grid": (4, 4),
            "schedule": SCHEDULE,
            "num_orders": 1,
            "seed": 0,
            "first_index": 0,
        },
    ),
    "feature_statistics": (metrics.feature_statistics, {"features_BF": FEATURES}),
    "frechet_distance": (
        metrics.frechet_distance,
        {"first": STATISTICS, "second": STATISTICS},
    ),
    "inception_score": (metrics.inception_score, {"logits_BC": FEATURES, "num_splits": 2}),
    "load_statistics": (metrics.load_statistics, {"path": "no_such_file.npz"}),
    "adm_center_crop": (images.adm_center_crop, {"image_HWC": PICTURES[0], "size": 4}),
    "image_grid": (images.image_grid, {"images_BHWC": PICTURES, "columns": 2, "padding": 2}),
    "labelled_grid": (images.labelled_grid, {"images_BHWC": PICTURES, "labels": ["a", "b"]}),
    "read_image": (lambda path: images.read_image("path", path), {"path": "no_such_file.png"}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_argument_works_or_is_named(name, odd):
    function, good = CASES[name]
    for argument in good:
        try:
            function(**{**good, argument: ODD[odd]})
        except (UserError, FileNotFoundError) as error:
            line = str(error)
            assert "\n" not in line and len(line) < 600 and ":" in line


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: lpd_jax.Pipeline.from_pretrained(3), "model: got 3"),
        (lambda: decoding.Sampling.make(temperature="0.7"), "temperature: got '0.7'"),
        (lambda: decoding.Sampling.make(top_k=float("inf")), "top_k: got inf"),
        (lambda: decoding.Sampling.make(top_p=np.array(["cat"])), "top_p: got array"),
        (lambda: decoding.Sampling.make(top_p=np.complex64(1)), "top_p: got"),
        (lambda: decoding.Guidance.make(1e300), "guidance_scale: got 1e[+]300"),
        (lambda: make_request(CONFIG, [0] * (10**6 + 1)), "labels: got 1000001"),
        (lambda: decoding.GroupSchedule(range(10**9)), "group_sizes: got range"),
    ],
)
def test_those_that_people_gave(call, name):
    with pytest.raises(UserError, match=f"^{name}"):
        call()


def test_numbers_of_numpy_and_jax_are_numbers():
    generation = lpd_jax.Generation(
        num_steps=np.int64(2), temperature=jnp.float32(0.5), group_sizes=np.array([1, 3])
    )
    assert (generation.num_steps, generation.temperature) == (2, 0.5)
    assert generation.group_sizes == (1, 3) and type(generation.num_steps) is int
    assert make_request(CONFIG, jnp.arange(3)).labels.tolist() == [0, 1, 2]
