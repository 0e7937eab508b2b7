"""An evaluation as a model trains: the protocol of `evaluate`, the parameters where they are.

A transformer draws the pictures, or clips, that `launch/evaluate.py` would draw of it, so the
number at the end of a run is that of the exported model. A tokenizer's are its reconstructions of
validation pictures.

Letters: B pictures, F features.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.data.data_config import DataConfig
from lpd_jax.data.pictures import open_images
from lpd_jax.evaluation.clip_sets import check_same_images
from lpd_jax.evaluation.drawn_pictures import DrawingPlan
from lpd_jax.evaluation.fid import DrawBatch, shared
from lpd_jax.evaluation.judges import Judge, open_judge
from lpd_jax.evaluation.picture_sets import DataSet
from lpd_jax.evaluation.references import (
    Reference,
    load_reference,
    make_reference,
    save_reference,
)
from lpd_jax.evaluation.suites import gather_evidence, measure, suites_for
from lpd_jax.generation.generate import generate_images, keys_of
from lpd_jax.models.settings import Generation
from lpd_jax.runtime.buckets import local_file
from lpd_jax.runtime.config_fields import check_types
from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.mesh import fetch, spread
from lpd_jax.runtime.random_keys import wrap_random_keys
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.loading import Weights

REFERENCE_FILES = "evaluation_reference_*.npz"  # in the workdir: training pictures, measured


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What is judged every `every.evaluate_pictures` steps, as `launch/evaluate.py` judges it.

    Attributes:
        num_images: each time; 0 judges none. Of a transformer a multiple of its classes.
        network: what `open_judge` takes.
        reference: an .npz, local or of a bucket; "" measures the training pictures once.
        suites: names; () is all that fit the network.
    """

    num_images: int = 0
    network: str = ""
    reference: str = ""
    suites: tuple[str, ...] = ()

    def __post_init__(self):
        check_types(self, "evaluation")
        if self.num_images < 0 or self.num_images == 1:
            raise UserError(
                f"evaluation.num_images: got {self.num_images}, allowed is 0 (none) or at least 2"
            )


class PictureTest(NamedTuple):
    """All that judges pictures, read and checked before the first step."""

    config: EvaluationConfig
    judge: Judge
    reference: Reference
    suites: tuple[str, ...]


def open_test(
    config: EvaluationConfig,
    data: DataConfig,
    size: tuple[int, ...] | None,
    workdir: pathlib.Path,
) -> PictureTest | None:
    """The network and the reference; None where nothing is judged.

    Args:
        config: what is asked for.
        data: that is trained on.
        size: (height, width) of the pictures that will be judged, or (frames, height, width);
            None where it is not known yet.
        workdir: local; keeps what was measured of the training pictures.

    Raises:
        UserError: a network or a reference that is not there, or one that does not fit the other
            or the pictures.
    """
    if not config.num_images:
        return None
    judge = open_judge(config.network, "evaluation.network")
    suites = suites_for(judge, config.suites)
    check_sees(judge, size)
    if config.reference:
        reference = open_file(config.reference, judge, data, size)
        return PictureTest(config, judge, reference, suites)
    if data.dataset == "tokens":
        raise UserError(
            "evaluation.reference: missing; a token cache holds no pictures to measure, so allowed "
            "is an .npz of ADM, of torch-fidelity or of launch/evaluate.py --make_reference"
        )
    pictures = DataSet(open_images(data, "train"))
    made_of = f"{judge.digest} {pictures.settings()}"
    name = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    file = workdir / REFERENCE_FILES.replace("*", name)
    if file.is_file():
        return PictureTest(config, judge, load_reference(file, judge), suites)
    reference = make_reference(pictures, judge)
    if jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        save_reference(file, reference)
    return PictureTest(config, judge, reference, suites)


def check_sees(judge: Judge, size: tuple[int, ...] | None) -> None:
    """Raises UserError for pictures that a network cannot judge, or for clips."""
    try:
        judge.check_size(size)
    except UserError as error:
        raise UserError(f"evaluation.{error}") from None


def open_file(name: str, judge: Judge, data: DataConfig, size: tuple[int, ...] | None) -> Reference:
    """The .npz that pictures are compared with, which must be of as large ones."""
    field = "evaluation.reference"
    with local_file(field, name) as path:
        reference = load_reference(path, judge, size, field)
    if size is not None:
        judged = {
            "size": list(size),
            "frame_rate": data.frame_rate if data.dataset == "clips" else None,
        }
        check_same_images(reference.about.get("pictures"), judged, name, field)
    return reference._replace(name=name)


def measure_pictures(
    test: PictureTest, draw: DrawBatch, params: Any, class_names: tuple[str, ...] = ()
) -> dict[str, float]:
    """Draws and judges; every process calls it and gets the numbers, as suite_name.

    Args:
        test: what judges.
        draw: see `DrawBatch`.
        params: of the model.
        class_names: of classes that are drawn in turn; () where classes are not known.
    """
    labels_B = None
    if class_names and class_names == test.judge.class_names:
        labels_B = np.arange(test.config.num_images) % len(class_names)
    evidence = gather_evidence(feature_parts(test, draw, params), test.judge, labels_B)
    found = measure(test.suites, evidence, test.reference, test.judge)
    return {
        f"{suite}_{name}": float(value)
        for suite, numbers in found.items()
        for name, value in numbers.items()
        if value is not None
    }


def feature_parts(
    test: PictureTest, draw: DrawBatch, params: Any
) -> Iterator[dict[str, np.ndarray]]:
    """Tap -> features, batch by batch; each process computes those of a part of the pictures."""
    done = 0
    while (left := test.config.num_images - done) > 0:
        images_BHWC = draw(params, done)[:left]
        yield shared(test.judge.taps, images_BHWC)
        done += len(images_BHWC)


# (parameters, first, count, sharding) -> uint8 [count, H, W, 3]
DrawSharded = Callable[[Any, int, int, jax.sharding.NamedSharding | None], np.ndarray]


def plan_for(
    model: Any, tokenizer: Any, generation: Generation, config: EvaluationConfig
) -> DrawingPlan | None:
    """Which pictures are judged; None where none are. UserError for what cannot be drawn."""
    if not config.num_images:
        return None
    try:
        directory = DirectoryConfig(model, tokenizer, generation=generation)
        return DrawingPlan(directory, generation, config.num_images)
    except UserError as error:
        raise UserError(f"evaluation.{error}") from None


def planned_draw(plan: DrawingPlan, tokenizer: Weights) -> DrawSharded:
    """Draws a plan's pictures with parameters that are laid out over all devices."""
    request, model = plan.request, plan.config.transformer

    def draw(params, first, count, sharding):
        index_B = np.minimum(first + np.arange(count), plan.count - 1)  # the last batch is filled
        keys_B = np.asarray(jax.random.key_data(keys_of(request.seed, index_B)))
        inputs = (plan.labels_B[index_B], plan.orders[index_B], keys_B)
        labels_B, order_BN, keys_B = (spread(x, sharding) for x in inputs)
        images_BHWC, _ = generate_images(
            model,
            params,
            *tokenizer,
            labels_B,
            order_BN,
            wrap_random_keys(keys_B),
            schedule=request.schedule,
            sampling=request.sampling,
            guidance=request.guidance,
            output_size=request.generation.output_size,
            dtype=jnp.dtype(request.generation.dtype),
        )
        return fetch(images_BHWC)

    return draw
