"""What the published training runs share: parts for the files in configs/.

Each function gives a new ConfigDict, a section of a config or the start of a whole one. A file
takes the parts of its paper, then sets what differs in its own run.
"""

from ml_collections import ConfigDict

from lpd_jax.models.family import config_to_dict, find_model
from lpd_jax.models.settings import Generation
from lpd_jax.runtime.config_fields import check_known

IMAGENET_IMAGES = 1_281_167  # of the training split
UCF101_CLIPS = 9_537  # of the first training list


def published_model(name: str) -> ConfigDict:
    """The section `model` of a published size.

    The command line reads tuples, not lists, and cannot tell the type of None: fields of None are
    left out, which is their default.

    Raises:
        UserError: no model of that name; it says the nearest.
    """
    fields = config_to_dict(find_model(name))
    given = {field: value for field, value in fields.items() if value is not None}
    return ConfigDict({k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def published_generation(name: str, *fields: str) -> ConfigDict:
    """The section `generation`: these fields, as the authors draw with the model of that name.

    Raises:
        UserError: no model of that name, or a field that the authors do not set.
    """
    settings = vars(Generation.published(find_model(name)))
    for field in fields:
        check_known(field, settings, "generation")
    return ConfigDict({field: settings[field] for field in fields})


def imagenet_epoch(batch_size: int) -> int:
    """Training steps in one pass over ImageNet."""
    return IMAGENET_IMAGES // batch_size


def imagenet_run(epochs: int, batch_size: int) -> ConfigDict:
    """A run on the tokens of ImageNet, without its model, data, optimizer and generation."""
    epoch = imagenet_epoch(batch_size)
    config = ConfigDict()
    config.seed = 0
    config.num_steps = epochs * epoch
    config.batch_size = batch_size
    config.tokenizer = "models/vq16"
    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})
    config.compute = ConfigDict(
        {
            "dtype": "bfloat16",
            "remat": "minimal",
            "attention": "auto",
            "accumulate_steps": 1,
            "unroll_layers": False,
        }
    )
    # As published: 50,000 images, the file of Inception's weights, ADM's .npz of mu and sigma.
    config.fid = ConfigDict({"num_images": 0, "network": "", "reference": ""})
    config.every = ConfigDict(
        {"log": 100, "evaluate": 5 * epoch, "save": epoch, "sample": epoch, "fid": 0}
    )
    config.keep_checkpoints = 2
    config.keep_every = 50 * epoch
    return config


def published_run(
    name: str, image_size: int, epochs: int, batch_size: int, generation: tuple[str, ...]
) -> ConfigDict:
    """A run of a published transformer on the tokens of ImageNet, without its optimizer.

    Args:
        name: of the model.
        image_size: side of its pictures, in pixels.
        generation: the fields of drawing that the config states.
    """
    config = imagenet_run(epochs, batch_size)
    config.model = published_model(name)
    config.data = imagenet_tokens(image_size)
    config.generation = published_generation(name, *generation)
    return config


def llamagen_run(name: str, batch_size: int, learning_rate: float) -> ConfigDict:
    """LlamaGen as its released code trains it (arXiv 2406.06525): 300 epochs, a constant rate."""
    config = published_run(name, 384, 300, batch_size, ("guidance_scale", "output_size"))
    config.optimizer = llamagen_optimizer(learning_rate)
    return config


def par_run(name: str, batch_size: int, learning_rate: float) -> ConfigDict:
    """PAR as its paper trains it (arXiv 2412.15119, section 4.1): 300 epochs, 15 of warm-up."""
    config = published_run(name, 384, 300, batch_size, ("guidance_scale", "output_size"))
    epoch = imagenet_epoch(batch_size)
    config.optimizer = par_optimizer(learning_rate, 15 * epoch, 285 * epoch)
    return config


def randar_run(name: str) -> ConfigDict:
    """RandAR as its released code trains it (arXiv 2412.01827): 360,000 steps of 1,024 images."""
    config = published_run(name, 256, 0, 1024, ("order", "num_steps", "guidance_scale"))
    config.num_steps = 360_000
    config.optimizer = randar_optimizer(warmup_steps=50_000, cosine_steps=310_000)
    return config


def arpg_run(name: str, batch_size: int, learning_rate: float) -> ConfigDict:
    """ARPG as its paper trains it (arXiv 2503.10568): 400 epochs, 100 of warm-up."""
    config = published_run(name, 256, 400, batch_size, ("order", "num_steps", "guidance_scale"))
    epoch = imagenet_epoch(batch_size)
    config.optimizer = arpg_optimizer(learning_rate, 100 * epoch, 300 * epoch)
    return config


def par_video_run(name: str) -> ConfigDict:
    """PAR on the clips of UCF-101 (arXiv 2412.15119, section 4.3): 3,000 epochs, 150 of warm-up.

    Of each clip 1,280 x 64,000 logits would stand in memory: the loss takes 160 tokens at once.
    """
    config = imagenet_run(epochs=1, batch_size=256)
    epoch = UCF101_CLIPS // config.batch_size
    config.num_steps = 3000 * epoch
    config.model = published_model(name)
    config.tokenizer = "models/nbp_video"
    config.data = ConfigDict(
        {"dataset": "tokens", "path": "data/ucf101_tokens", "random_views": True}
    )
    config.optimizer = par_optimizer(
        learning_rate=1e-4, warmup_steps=150 * epoch, cosine_steps=2850 * epoch
    )
    config.mesh.fsdp = 8
    config.compute.loss_chunk = 160
    config.generation = published_generation(name, "guidance_scale", "top_k")
    config.every = ConfigDict(
        {"log": 50, "evaluate": 50 * epoch, "save": 50 * epoch, "sample": 100 * epoch}
    )
    config.keep_every = 500 * epoch
    del config.fid  # which knows pictures alone
    return config


def imagenet_tokens(image_size: int) -> ConfigDict:
    """The section `data`: the token cache of pictures of `image_size` x `image_size` pixels."""
    path = f"data/imagenet{image_size}_tokens"
    return ConfigDict({"dataset": "tokens", "path": path, "random_views": True})


def imagenet_pictures(image_size: int) -> ConfigDict:
    """The section `data` of a tokenizer: random crops of `image_size` x `image_size` pixels."""
    return ConfigDict(
        {
            "dataset": "folder",
            "path": "data/imagenet",
            "image_size": image_size,
            "random_views": True,
            "random_crop": 0.8,
        }
    )


def llamagen_tokenizer_run(name: str, epochs: int) -> ConfigDict:
    """LlamaGen's tokenizer of that name (arXiv 2406.06525, section 3.1 and the released code).

    Adam at a constant 1e-4, batch 128; squared error and LPIPS alike, a hinge discriminator of
    half the weight from step 20,000 on.
    """
    config = imagenet_run(epochs=epochs, batch_size=128)
    del config.tokenizer
    config.model = published_model(name)
    config.data = imagenet_pictures(image_size=256)
    config.tokenizer_loss = ConfigDict({"l2_weight": 1.0, "perceptual_weight": 1.0})
    config.perceptual = ConfigDict({"network": "vgg16"})
    config.adversarial = ConfigDict({"weight": 0.5, "start_step": 20_000})
    config.discriminator = ConfigDict({"channels": 64, "num_layers": 3, "norm": "batch"})
    config.optimizer = llamagen_optimizer(learning_rate=1e-4)
    config.optimizer.weight_decay = 0.0
    config.generation = ConfigDict({})
    return config


def magvit2_tokenizer_run(
    epochs: int, epoch: int, batch_size: int, constant_epochs: int = 0
) -> ConfigDict:
    """Open-MAGVIT2's way to train a tokenizer (arXiv 2409.04410, the released code and configs).

    Without its model, data and the weights of its discriminator. L1 and LPIPS alike; a hinge for
    the discriminator, which counts from the first step; softplus of a picture's or a clip's mean
    logit for the tokenizer. Adam, no clipping, an average of the weights.

    Args:
        epoch: steps of one.
        constant_epochs: at the full rate, before the cosine to a hundredth of it.
    """
    config = imagenet_run(epochs=1, batch_size=batch_size)
    del config.tokenizer
    config.num_steps = epochs * epoch
    config.tokenizer_loss = ConfigDict(
        {"l1_weight": 1.0, "l2_weight": 0.0, "perceptual_weight": 1.0}
    )
    config.perceptual = ConfigDict({"network": "vgg16"})
    config.adversarial = ConfigDict(
        {"start_step": 0, "loss": "hinge", "generator_loss": "non_saturating_by_picture"}
    )
    config.discriminator = ConfigDict({"channels": 64, "num_layers": 3, "norm": "batch"})
    config.optimizer = ConfigDict(
        {
            "learning_rate": 1e-4,
            "final_learning_rate": 1e-6,
            "warmup_steps": 2 * epoch,
            "cosine_steps": (epochs - 2 - constant_epochs) * epoch,
            "beta1": 0.5,
            "beta2": 0.9,
            "weight_decay": 0.0,
            "clip_norm": 1e9,
        }
    )
    config.ema_decay = 0.9999
    config.generation = ConfigDict({})
    return config


def lpd_optimizer(learning_rate: float, warmup_steps: int, cosine_steps: int) -> ConfigDict:
    """LPD's AdamW (arXiv 2507.01957, section 4.1 and the released code): cosine to 1e-5."""
    return ConfigDict(
        {
            "learning_rate": learning_rate,
            "final_learning_rate": 1e-5,
            "warmup_steps": warmup_steps,
            "cosine_steps": cosine_steps,
            "beta1": 0.9,
            "beta2": 0.95,
            "weight_decay": 0.02,
            "clip_norm": 3.0,
            "stop_grad_norm": 1e4,
        }
    )


def llamagen_optimizer(learning_rate: float) -> ConfigDict:
    """LlamaGen's AdamW (arXiv 2406.06525, the released code): a constant rate."""
    return ConfigDict(
        {
            "learning_rate": learning_rate,
            "warmup_steps": 0,
            "cosine_steps": 0,
            "beta1": 0.9,
            "beta2": 0.95,
            "weight_decay": 0.05,
            "clip_norm": 1.0,
        }
    )


def par_optimizer(learning_rate: float, warmup_steps: int, cosine_steps: int) -> ConfigDict:
    """PAR's AdamW (arXiv 2412.15119, section 4.1): LlamaGen's, with warm-up and cosine to 0."""
    optimizer = llamagen_optimizer(learning_rate)
    optimizer.final_learning_rate = 0.0
    optimizer.warmup_steps = warmup_steps
    optimizer.cosine_steps = cosine_steps
    return optimizer


def randar_optimizer(warmup_steps: int, cosine_steps: int) -> ConfigDict:
    """RandAR's AdamW (arXiv 2412.01827, the released code): cosine to a twentieth, skip rule."""
    optimizer = llamagen_optimizer(learning_rate=4e-4)
    optimizer.final_learning_rate = 2e-5
    optimizer.warmup_steps = warmup_steps
    optimizer.cosine_steps = cosine_steps
    optimizer.skip_norm_sum = 10.0
    return optimizer


def arpg_optimizer(learning_rate: float, warmup_steps: int, cosine_steps: int) -> ConfigDict:
    """ARPG's AdamW (arXiv 2503.10568): LlamaGen's, with warm-up and cosine to 1e-5."""
    optimizer = llamagen_optimizer(learning_rate)
    optimizer.final_learning_rate = 1e-5
    optimizer.warmup_steps = warmup_steps
    optimizer.cosine_steps = cosine_steps
    return optimizer
