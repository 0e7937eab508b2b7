"""LPD-XL at 256 pixels: 752 M parameters, 20 steps for 256 tokens.

    python launch/train.py --config=configs/lpd_xl.py --workdir=gs://BUCKET/lpd_xl

Expected (published, arXiv 2507.01957): FID 2.10 and IS 326.7 in 20 steps
at guidance 4.9, 1.92 and 319.4 in 32 steps at 5.0.
Hardware: 32 GPUs of 32 images each in the released code; any mesh whose data x fsdp divides
the batch.
Before it, once: the tokens of ImageNet and of its mirror, by the published VQ-16.

    python launch/convert.py --input=vq_ds16_c2i.pt --output=models/vq16
    for split in train validation; do
      python launch/cache_tokens.py --config=configs/lpd_xl.py --config.data.dataset=tfds \
        --config.data.name=imagenet2012 --config.data.path= --config.data.image_size=256 \
        --split=$split --output=data/imagenet256_tokens
    done

The recipe is LPD's (section 4.1 and the released code): 450 epochs, 50 of warm-up, constant to 400,
cosine to 1e-5; rate 1e-4 for each 256 images of the batch; no average of the weights.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes

BATCH_SIZE = 1024
EPOCH = recipes.imagenet_epoch(BATCH_SIZE)  # steps


def get_config() -> ConfigDict:
    config = recipes.imagenet_run(epochs=450, batch_size=BATCH_SIZE)
    config.model = recipes.published_model("lpd_xl")
    config.num_size_lists = 32  # one a GPU, as its 32 processes draw them
    config.data = recipes.imagenet_tokens(image_size=256)
    config.optimizer = recipes.lpd_optimizer(
        learning_rate=4e-4, warmup_steps=50 * EPOCH, cosine_steps=50 * EPOCH
    )
    config.mesh.fsdp = 4
    config.generation = recipes.published_generation(
        "lpd_xl", "order", "num_steps", "guidance_scale"
    )
    return config
