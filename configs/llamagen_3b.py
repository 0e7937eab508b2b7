"""LlamaGen-3B at 384 pixels, judged at 256: 3.1 B parameters, 576 steps, one a token.

    python launch/train.py --config=configs/llamagen_3b.py --workdir=gs://BUCKET/llamagen_3b

Expected (published, arXiv 2412.15119): FID 2.18 and IS 263.3 in 576 steps at guidance 1.65.
Parameters and optimizer take 37 GB, cut over mesh.fsdp devices.
Before it, once: the tokens of ten crops of every image, by the published VQ-16.

    python launch/convert.py --input=vq_ds16_c2i.pt --output=models/vq16
    for split in train validation; do
      python launch/cache_tokens.py --config=configs/llamagen_3b.py --config.data.dataset=tfds \
        --config.data.name=imagenet2012 --config.data.path= --config.data.image_size=384 \
        --ten_crop --split=$split --output=data/imagenet384_tokens
    done

The recipe is that of LlamaGen's released code (arXiv 2406.06525): 300 epochs at a constant rate.
"""

from ml_collections import ConfigDict

IMAGES = 1_281_167
BATCH_SIZE = 512
EPOCH = IMAGES // BATCH_SIZE  # steps


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.num_steps = 300 * EPOCH
    config.batch_size = BATCH_SIZE
    config.tokenizer = "models/vq16"
    config.model = ConfigDict(
        {
            "family": "par",
            "num_layers": 24,
            "embed_dim": 3200,
            "num_heads": 32,
            "num_parallel": 1,
            "grid_size": (24, 24),
            "codebook_size": 16384,
            "num_classes": 1000,
            "label_drop_rate": 0.1,
            "token_drop_rate": 0.1,
            "dropout_rate": 0.1,
        }
    )
    config.data = ConfigDict(
        {"dataset": "tokens", "path": "data/imagenet384_tokens", "random_views": True}
    )
    config.optimizer = ConfigDict(
        {
            "learning_rate": 2e-4,
            "warmup_steps": 0,
            "cosine_steps": 0,
            "beta1": 0.9,
            "beta2": 0.95,
            "weight_decay": 0.05,
            "clip_norm": 1.0,
        }
    )
    config.mesh = ConfigDict({"data": -1, "fsdp": 16, "tensor": 1})
    config.compute = ConfigDict(
        {"dtype": "bfloat16", "remat": "minimal", "attention": "auto", "accumulate_steps": 1}
    )
    config.generation = ConfigDict({"guidance_scale": 1.65, "output_size": 256})
    # As published: 50,000 images, the file of Inception's weights, ADM's .npz of mu and sigma.
    config.fid = ConfigDict({"num_images": 0, "network": "", "reference": ""})
    config.every = ConfigDict(
        {"log": 100, "evaluate": 5 * EPOCH, "save": EPOCH, "sample": EPOCH, "fid": 0}
    )
    config.keep_checkpoints = 2
    config.keep_every = 50 * EPOCH
    return config
