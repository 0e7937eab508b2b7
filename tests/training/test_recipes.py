"""The published runs: what their files say is what the papers' tables say."""

import dataclasses
import importlib.util
import pathlib
import re

import pytest
from absl import flags
from ml_collections import config_flags

from lpd_jax.data import moving_avatars
from lpd_jax.data.pictures import image_shape
from lpd_jax.models.discriminator import DiscriminatorConfig
from lpd_jax.models.family import published_models, tokenizer_of, transformer_of
from lpd_jax.models.parameters import count_params
from lpd_jax.training import recipes
from lpd_jax.training.config import read_config

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
IMAGES = 1_281_167
SECTIONS = {"model", "data", "optimizer", "mesh", "compute", "generation", "fid", "every"}

# Name -> epochs, batch, rate, epochs of warm-up and of cosine, fsdp, guidance, steps.
# The rates and guidance are those of the papers; steps of None are as many as the groups of PAR.
RUNS = {
    "lpd_l": (450, 2048, 8e-4, 50, 50, 1, 4.8, 20),
    "lpd_xl": (450, 1024, 4e-4, 50, 50, 4, 4.9, 20),
    "lpd_xxl": (450, 1024, 4e-4, 50, 50, 8, 5.9, 20),
    "lpd_l_512": (50, 512, 2e-4, 1, 49, 1, 7.3, 48),
    "lpd_xl_512": (50, 256, 1e-4, 1, 49, 4, 6.0, 48),
    "par_l_4x": (300, 256, 1e-4, 15, 285, 1, 1.6, None),
    "par_xl_4x": (300, 256, 1e-4, 15, 285, 8, 1.5, None),
    "par_xxl_4x": (300, 512, 2e-4, 15, 285, 8, 1.435, None),
    "par_xxl_16x": (300, 512, 2e-4, 15, 285, 8, 1.435, None),
    "par_3b_4x": (300, 512, 2e-4, 15, 285, 16, 1.345, None),
    "par_3b_16x": (300, 512, 2e-4, 15, 285, 16, 1.5, None),
    "arpg_l": (400, 1024, 4e-4, 100, 300, 1, 5.0, 64),
    "arpg_xl": (400, 768, 3e-4, 100, 300, 4, 6.0, 64),
    "arpg_xxl": (400, 512, 2e-4, 100, 300, 8, 7.5, 64),
    "llamagen_b": (300, 256, 1e-4, 0, 0, 1, 2.0, None),
    "llamagen_l": (300, 256, 1e-4, 0, 0, 1, 2.0, None),
    "llamagen_xl": (300, 256, 2e-4, 0, 0, 8, 1.75, None),
    "llamagen_xxl": (300, 512, 2e-4, 0, 0, 8, 1.75, None),
    "llamagen_3b": (300, 512, 2e-4, 0, 0, 16, 1.65, None),
}
# Name -> fsdp, guidance: told in steps, not in epochs.
RANDAR_RUNS = {"randar_l": (1, 3.4), "randar_xl": (4, 4.0), "randar_xxl": (8, 4.0)}
# Tokens at a time -> decoding steps, published FVD.
VIDEO_RUNS = {1: (1280, 94.1), 4: (323, 99.5), 16: (95, 103.4)}
EVERY_RUN = [*RUNS, *RANDAR_RUNS]
TOKENIZERS = {"vq16", "vq8", "vq16_finetune"}
# Of each paper: final rate, weight decay, longest gradient, gradient that ends the run.
OPTIMIZERS = {
    "lpd": (1e-5, 0.02, 3.0, 1e4),
    "par": (0.0, 0.05, 1.0, 0.0),
    "arpg": (1e-5, 0.05, 1.0, 0.0),
    "llamagen": (1e-5, 0.05, 1.0, 0.0),
}


def load(name):
    spec = importlib.util.spec_from_file_location(name, CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def from_command_line(name, *overrides):
    """What launch scripts read, as `command_line.define_config` sets it; in flags of its own."""
    values = flags.FlagValues()
    arguments = ["train.py", *overrides]
    holder = config_flags.DEFINE_config_dict(
        "config",
        load(name).get_config(),
        lock_config=False,
        accept_new_attributes=True,
        flag_values=values,
        sys_argv=arguments,
    )
    values(arguments)
    return read_config(holder.value.to_dict())


def test_every_published_run_is_in_the_table():
    ours = ("avatars", "photos", "clips")
    named = {path.stem for path in CONFIGS.glob("*.py") if not path.stem.startswith(ours)}
    video = {"nbp_video", "nbp_video_pictures", *(f"par_video_xl_{n}x" for n in VIDEO_RUNS)}
    assert named == set(EVERY_RUN) | TOKENIZERS | video


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
def test_a_tokenizers_run_is_the_released_code(name):
    """LlamaGen's `tokenizer_image/vq_train.py` and its arguments."""
    model, config = read_config(load(name).get_config().to_dict())
    assert model == published_models()[name.removesuffix("_finetune")]
    assert config.batch_size == 128
    optimizer, losses, adversarial = config.optimizer, config.tokenizer_loss, config.adversarial
    assert (optimizer.learning_rate, optimizer.warmup_steps, optimizer.cosine_steps) == (1e-4, 0, 0)
    assert (optimizer.beta1, optimizer.beta2, optimizer.weight_decay) == (0.9, 0.95, 0)
    assert optimizer.clip_norm == 1
    assert (losses.l2_weight, losses.l1_weight, losses.perceptual_weight) == (1, 0, 1)
    assert (losses.codebook_weight, losses.commitment_weight, losses.entropy_weight) == (1, 0.25, 0)
    assert config.perceptual.network == "vgg16"
    assert (adversarial.weight, adversarial.loss, adversarial.adaptive) == (0.5, "hinge", False)
    assert config.discriminator == DiscriminatorConfig(64, 3, "batch")
    assert (config.data.image_size, config.data.random_views) == (256, True)
    assert config.data.random_crop == 0.8 and config.compute.dtype == "bfloat16"
    if name.endswith("finetune"):
        assert config.trained_parts == ("decoder", "post_quant_conv")
        assert adversarial.start_step == 0 and config.init_from == "models/vq16"
    else:
        assert config.trained_parts == () and adversarial.start_step == 20_000
        assert config.num_steps == 40 * (IMAGES // 128)
    header = load(name).__doc__
    assert f"configs/{name}.py --workdir=" in header and "Expected" in header


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_the_published_one(name):
    epochs, batch_size, rate, warmup, cosine, fsdp, guidance_scale, num_steps = RUNS[name]
    epoch = IMAGES // batch_size
    model, config = read_config(load(name).get_config().to_dict())
    assert model == published_models()[name]
    assert (config.num_steps, config.batch_size) == (epochs * epoch, batch_size)
    optimizer = config.optimizer
    assert optimizer.learning_rate == rate
    assert (optimizer.warmup_steps, optimizer.cosine_steps) == (warmup * epoch, cosine * epoch)
    assert OPTIMIZERS[name.split("_")[0]] == (
        optimizer.final_learning_rate,
        optimizer.weight_decay,
        optimizer.clip_norm,
        optimizer.stop_grad_norm,
    )
    assert (config.mesh.data, config.mesh.fsdp, config.mesh.tensor) == (-1, fsdp, 1)
    assert config.generation.guidance_scale == guidance_scale
    assert config.generation.num_steps == num_steps
    assert config.num_size_lists == (32 if name.startswith("lpd") else 1)
    smaller = name.startswith(("par", "llamagen"))
    assert config.generation.output_size == (256 if smaller else None)


@pytest.mark.parametrize("name", RANDAR_RUNS)
def test_a_run_of_randar_is_the_released_one(name):
    model, config = read_config(load(name).get_config().to_dict())
    assert model == published_models()[name]
    assert (config.num_steps, config.batch_size) == (360_000, 1024)
    optimizer = config.optimizer
    assert (optimizer.learning_rate, optimizer.final_learning_rate) == (4e-4, 2e-5)
    assert (optimizer.warmup_steps, optimizer.cosine_steps) == (50_000, 310_000)
    assert (optimizer.weight_decay, optimizer.clip_norm, optimizer.skip_norm_sum) == (0.05, 1, 10)
    assert (optimizer.beta1, optimizer.beta2) == (0.9, 0.95)
    generation = config.generation
    assert (config.mesh.fsdp, generation.guidance_scale) == RANDAR_RUNS[name]
    assert (generation.order, generation.num_steps) == ("random", 88)


@pytest.mark.parametrize("num_parallel", VIDEO_RUNS)
def test_a_run_on_clips_is_the_published_one(num_parallel):
    name, (steps, distance) = f"par_video_xl_{num_parallel}x", VIDEO_RUNS[num_parallel]
    model, config = read_config(load(name).get_config().to_dict())
    assert model == published_models()[name] and model.num_parallel == num_parallel
    assert transformer_of(model).schedule().num_steps == steps
    epoch = 9_537 // 256
    assert (config.num_steps, config.batch_size) == (3000 * epoch, 256)
    optimizer = config.optimizer
    assert (optimizer.learning_rate, optimizer.final_learning_rate) == (1e-4, 0.0)
    assert (optimizer.warmup_steps, optimizer.cosine_steps) == (150 * epoch, 2850 * epoch)
    assert (optimizer.weight_decay, model.dropout_rate, model.label_drop_rate) == (0.05, 0.1, 0.1)
    assert (config.generation.guidance_scale, config.generation.top_k) == (1.15, 8000)
    assert model.num_tokens % config.compute.loss_chunk == 0 < config.compute.loss_chunk
    header = load(name).__doc__
    assert (
        f"FVD {distance} in {steps} steps" in header and f"workdir=gs://BUCKET/{name}\n" in header
    )


@pytest.mark.parametrize(
    ("name", "epochs", "batch", "weight", "lecam"),
    [("nbp_video", 2000, 128, 0.3, 0.05), ("nbp_video_pictures", 350, 256, 0.1, 0.01)],
)
def test_a_tokenizer_of_clips_learns_as_open_magvit2s(name, epochs, batch, weight, lecam):
    model, config = read_config(load(name).get_config().to_dict())
    is_clips = name == "nbp_video"
    epoch = (9_537 if is_clips else IMAGES) // batch
    assert (config.num_steps, config.batch_size) == (epochs * epoch, batch)
    optimizer, losses, adversarial = config.optimizer, config.tokenizer_loss, config.adversarial
    assert (optimizer.learning_rate, optimizer.final_learning_rate) == (1e-4, 1e-6)
    assert (optimizer.beta1, optimizer.beta2, optimizer.weight_decay) == (0.5, 0.9, 0)
    warm, falling = optimizer.warmup_steps, optimizer.cosine_steps
    assert warm == 2 * epoch and falling == ((epochs - 2) * epoch if is_clips else 100 * epoch)
    assert (losses.l2_weight, losses.l1_weight, losses.perceptual_weight) == (0, 1, 1)
    assert (adversarial.weight, adversarial.lecam_weight) == (weight, lecam)
    assert (adversarial.loss, adversarial.start_step) == ("hinge", 0)
    assert adversarial.generator_loss == "non_saturating_by_picture"
    assert config.discriminator == DiscriminatorConfig(64, 3, "batch", frames=is_clips)
    assert tokenizer_of(model).grid_of(image_shape(config.data))[-2:] == (16, 16)
    header = load(name).__doc__
    assert f"configs/{name}.py" in header and f"gs://BUCKET/{name}\n" in header
    assert "Expected: we have not trained it" in header


@pytest.mark.parametrize("name", ["nbp_video", "clips_tokenizer"])
def test_clips_start_from_the_twin_for_pictures(name):
    """It differs in time alone."""
    clips, _ = read_config(load(name).get_config().to_dict())
    pictures, config = read_config(load(f"{name}_pictures").get_config().to_dict())
    assert dataclasses.asdict(pictures) == dataclasses.asdict(clips) | {"time_strides": ()}
    assert tokenizer_of(pictures).name in tokenizer_of(clips).starts_from
    assert len(image_shape(config.data)) == 2
    perceptual = CONFIGS / "clips_tokenizer_perceptual.py"
    model, config = read_config(load(perceptual.stem).get_config().to_dict())
    small, _ = read_config(load("clips_tokenizer").get_config().to_dict())
    assert model == small and config.discriminator.frames
    assert min(config.discriminator.patches(image_shape(config.data))) > 1


SMALL_CLIPS = ["clips_tokenizer", "clips_par", "clips_par_temporal", "clips_lpd"]


@pytest.mark.parametrize("name", SMALL_CLIPS)
def test_small_clips_fit_their_tokenizer(name):
    model, config = read_config(load(name).get_config().to_dict())
    if name == "clips_tokenizer":
        assert tokenizer_of(model).grid_of(image_shape(config.data)) == (5, 16, 16)
    else:
        tokenizer, _ = read_config(load("clips_tokenizer").get_config().to_dict())
        assert tokenizer_of(tokenizer).size_of(model.grid_size) == image_shape(config.data)
        assert model.codebook_size == tokenizer.codebook_size
        assert model.num_classes == len(moving_avatars.NAMES)
        # They ship in half precision.
        assert 2 * (count_params(model) + count_params(tokenizer)) < 25e6


@pytest.mark.parametrize("name", EVERY_RUN)
def test_the_tokens_are_those_of_the_grid(name):
    """The published tokenizer has 16 x 16 pixels a token."""
    model, config = read_config(load(name).get_config().to_dict())
    image_size = 16 * model.grid_size[0]
    assert config.data.path == f"data/imagenet{image_size}_tokens" and config.data.random_views
    assert f"image_size={image_size}" in load(name).__doc__
    assert f"output={config.data.path}" in load(name).__doc__


@pytest.mark.parametrize("name", EVERY_RUN)
def test_the_header_is_of_this_run(name):
    header = load(name).__doc__
    assert f"{name}.py --workdir=gs://BUCKET/{name}\n" in header
    assert set(re.findall(r"configs/(\w+)\.py", header)) == {name}
    if name != "llamagen_b":  # the paper has no figure for it
        guidance_scale = re.search(r"guidance (\d+\.\d+)", header).group(1)
        assert float(guidance_scale) == load(name).get_config().generation.guidance_scale


@pytest.mark.parametrize("name", [name for name in RUNS if name.startswith("lpd")])
def test_the_images_of_32_gpus_are_the_batch_of_lpd(name):
    """Its rate is 1e-4 for each 256 images."""
    images = int(re.search(r"32 GPUs of (\d+) images each", load(name).__doc__).group(1))
    config = load(name).get_config()
    assert config.batch_size == 32 * images
    assert config.optimizer.learning_rate == pytest.approx(1e-4 * config.batch_size / 256)


@pytest.mark.parametrize("name", [name for name in RUNS if name.startswith("par")])
def test_par_says_that_its_paper_and_its_code_differ(name):
    assert "The\nreleased code differs: a constant rate of 1e-4 at batch 256" in load(name).__doc__


@pytest.mark.parametrize("name", [name for name in RUNS if name.startswith("llamagen")])
def test_llamagen_says_where_its_rate_and_batch_come_from(name):
    config = load(name).get_config()
    rate = f"{config.optimizer.learning_rate:.0e}".replace("e-0", "e-")
    assert f"{rate} at batch {config.batch_size}, are not in its scripts" in load(name).__doc__


@pytest.mark.parametrize("name", EVERY_RUN)
def test_every_section_is_there_to_be_set(name):
    assert set(load(name).get_config()) >= SECTIONS


def test_a_config_is_its_own():
    """A field that is set in one is not set in the next: no section is shared."""
    first = load("par_l_4x").get_config()
    before = load("par_l_4x").get_config().to_dict()
    for section in SECTIONS:
        for field in first[section]:
            del first[section][field]
    assert load("par_l_4x").get_config().to_dict() == before


def test_fields_can_be_given_on_the_command_line():
    model, config = from_command_line(
        "par_l_4x",
        "--config.batch_size=32",
        "--config.model.num_layers=3",
        "--config.model.grid_size=(16, 16)",
        "--config.optimizer.learning_rate=3e-4",
        "--config.mesh.fsdp=2",
        "--config.generation.guidance_scale=2",
    )
    assert (model.num_layers, model.grid_size) == (3, (16, 16))
    assert (config.batch_size, config.mesh.fsdp) == (32, 2)
    assert config.optimizer.learning_rate == 3e-4 and config.generation.guidance_scale == 2.0


def test_fields_that_a_file_leaves_out_can_be_given_too():
    model, config = from_command_line(
        "par_l_4x",
        "--config.model.num_regions=1",
        "--config.generation.temperature=0.9",
        "--config.optimizer.stop_grad_norm=100.0",
        "--config.ema_decay=0.999",
        "--config.init_from=models/par_l_4x",
        "--config.new_classes=True",
        "--config.data.dataset=tfds",
        "--config.data.name=imagenet2012",
        "--config.data.path=",
        "--config.data.image_size=384",
    )
    assert model.num_regions == 1 and config.generation.temperature == 0.9
    assert config.optimizer.stop_grad_norm == 100.0 and config.ema_decay == 0.999
    assert config.init_from == "models/par_l_4x" and config.new_classes is True
    assert (config.data.dataset, config.data.name) == ("tfds", "imagenet2012")
    assert (config.data.path, config.data.image_size) == ("", 384)


@pytest.mark.parametrize(
    "name", ["avatars_lpd", "avatars_par", "avatars_randar", "avatars_arpg", "avatars_vq"]
)
def test_short_runs_can_be_changed(name):
    _, config = from_command_line(
        name,
        "--config.num_steps=300",
        "--config.data.dataset=folder",
        "--config.data.path=pictures",
        "--config.data.image_size=64",
        "--config.optimizer.cosine_steps=0",
        "--config.mesh.fsdp=2",
        "--config.compute.dtype=bfloat16",
        "--config.every.save=10",
    )
    assert (config.num_steps, config.optimizer.cosine_steps, config.every.save) == (300, 0, 10)
    assert (config.data.dataset, config.data.path) == ("folder", "pictures")
    assert (config.mesh.fsdp, config.compute.dtype) == (2, "bfloat16")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: recipes.published_model("lpd_x"), "model: got 'lpd_x', allowed are"),
        (
            lambda: recipes.published_generation("par_3b_8x", "order"),
            "model: got 'par_3b_8x', allowed are",
        ),
        (
            lambda: recipes.published_generation("lpd_l", "guidance"),
            "generation.guidance: got an unknown field, allowed are",
        ),
    ],
)
def test_what_is_not_published_is_named(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(message)
