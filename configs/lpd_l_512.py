"""LPD-L at 512 pixels: 338 M parameters, 48 steps for 1024 tokens.

    python launch/train.py --config=configs/lpd_l_512.py --workdir=gs://BUCKET/lpd_l_512

Expected (published, arXiv 2507.01957): FID 2.54 and IS 292.2 in 48 steps
at guidance 7.3.
Hardware: GPUs or TPUs, any mesh whose data x fsdp divides the batch.
Before it, once: the tokens of ImageNet and of its mirror, by the published VQ-16.

    python launch/convert.py --input=vq_ds16_c2i.pt --output=models/vq16
    for split in train validation; do
      python launch/cache_tokens.py --config=configs/lpd_l_512.py --config.data.dataset=tfds \
        --config.data.name=imagenet2012 --config.data.path= --config.data.image_size=512 \
        --split=$split --output=data/imagenet512_tokens
    done

The recipe is LPD's (section 4.1 and the released code): 50 epochs from the 256-pixel
weights (their position table resized), 1 of warm-up, cosine to 1e-5. It names 16 (L) or 8 (XL)
images per GPU; the batch here is that of 64 GPUs.
"""

from ml_collections import ConfigDict

IMAGES = 1_281_167
BATCH_SIZE = 1024
EPOCH = IMAGES // BATCH_SIZE  # steps


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.num_steps = 50 * EPOCH
    config.batch_size = BATCH_SIZE
    config.tokenizer = "models/vq16"
    config.init_from = "models/lpd_l"
    config.model = ConfigDict(
        {
            "family": "lpd",
            "num_layers": 24,
            "embed_dim": 1024,
            "num_heads": 16,
            "grid_size": (32, 32),
            "codebook_size": 16384,
            "num_classes": 1000,
            "label_drop_rate": 0.1,
            "dropout_rate": 0.1,
        }
    )
    config.data = ConfigDict(
        {"dataset": "tokens", "path": "data/imagenet512_tokens", "random_views": True}
    )
    config.optimizer = ConfigDict(
        {
            "learning_rate": 1e-4 * BATCH_SIZE / 256,
            "final_learning_rate": 1e-5,
            "warmup_steps": 1 * EPOCH,
            "cosine_steps": 49 * EPOCH,
            "beta1": 0.9,
            "beta2": 0.95,
            "weight_decay": 0.02,
            "clip_norm": 3.0,
            "stop_grad_norm": 1e4,
        }
    )
    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})
    config.compute = ConfigDict(
        {"dtype": "bfloat16", "remat": "minimal", "attention": "auto", "accumulate_steps": 1}
    )
    config.generation = ConfigDict({"order": "locality", "num_steps": 48, "guidance_scale": 7.3})
    # As published: 50,000 images, the file of Inception's weights, ADM's .npz of mu and sigma.
    config.fid = ConfigDict({"num_images": 0, "network": "", "reference": ""})
    config.every = ConfigDict(
        {"log": 100, "evaluate": 5 * EPOCH, "save": EPOCH, "sample": EPOCH, "fid": 0}
    )
    config.keep_checkpoints = 2
    config.keep_every = 10 * EPOCH
    return config
