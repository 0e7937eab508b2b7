"""LPD-L at 512 pixels: 338 M parameters, 48 steps for 1024 tokens.

    python launch/train.py --config=configs/lpd_l_512.py --workdir=gs://BUCKET/lpd_l_512

Expected (published, arXiv 2507.01957): FID 2.54 and IS 292.2 in 48 steps
at guidance 7.3.
Hardware: 32 GPUs of 16 images each in the released code; any mesh whose data x fsdp divides
the batch.
Before it, once: the tokens of ImageNet and of its mirror, by the published VQ-16.

    python launch/convert.py --input=vq_ds16_c2i.pt --output=models/vq16
    for split in train validation; do
      python launch/cache_tokens.py --config=configs/lpd_l_512.py --config.data.dataset=tfds \
        --config.data.name=imagenet2012 --config.data.path= --config.data.image_size=512 \
        --split=$split --output=data/imagenet512_tokens
    done

The recipe is LPD's (section 4.1 and the released code): 50 epochs from the 256-pixel
weights (their position table resized), 1 of warm-up, cosine to 1e-5; rate 1e-4 for each 256
images of the batch, which is that of its launch script: 4 nodes of 8 GPUs.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes

BATCH_SIZE = 512
EPOCH = recipes.imagenet_epoch(BATCH_SIZE)  # steps


def get_config() -> ConfigDict:
    config = recipes.imagenet_run(epochs=50, batch_size=BATCH_SIZE)
    config.init_from = "models/lpd_l"
    config.model = recipes.published_model("lpd_l_512")
    config.num_size_lists = 32  # one a GPU, as its 32 processes draw them
    config.data = recipes.imagenet_tokens(image_size=512)
    config.optimizer = recipes.lpd_optimizer(
        learning_rate=2e-4, warmup_steps=1 * EPOCH, cosine_steps=49 * EPOCH
    )
    config.generation = recipes.published_generation(
        "lpd_l_512", "order", "num_steps", "guidance_scale"
    )
    config.keep_every = 10 * EPOCH
    return config
