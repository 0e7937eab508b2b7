"""LPD-XL at 256 pixels: 752 M parameters, 20 steps for 256 tokens.

    python launch/train.py --config=configs/lpd_xl.py --workdir=gs://BUCKET/lpd_xl

Expected (published, arXiv 2507.01957): FID 2.10 and IS 326.7 in 20 steps
at guidance 4.9, 1.92 and 319.4 in 32 steps at 5.0.
Hardware: 64 A100 in the paper; any mesh whose data x fsdp divides the batch.
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

IMAGES = 1_281_167
BATCH_SIZE = 1024
EPOCH = IMAGES // BATCH_SIZE  # steps


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.num_steps = 450 * EPOCH
    config.batch_size = BATCH_SIZE
    config.tokenizer = "models/vq16"
    config.model = ConfigDict(
        {
            "family": "lpd",
            "num_layers": 36,
            "embed_dim": 1280,
            "num_heads": 20,
            "grid_size": (16, 16),
            "codebook_size": 16384,
            "num_classes": 1000,
            "label_drop_rate": 0.1,
            "dropout_rate": 0.1,
        }
    )
    config.data = ConfigDict(
        {"dataset": "tokens", "path": "data/imagenet256_tokens", "random_views": True}
    )
    config.optimizer = ConfigDict(
        {
            "learning_rate": 1e-4 * BATCH_SIZE / 256,
            "final_learning_rate": 1e-5,
            "warmup_steps": 50 * EPOCH,
            "cosine_steps": 50 * EPOCH,
            "beta1": 0.9,
            "beta2": 0.95,
            "weight_decay": 0.02,
            "clip_norm": 3.0,
            "stop_grad_norm": 1e4,
        }
    )
    config.mesh = ConfigDict({"data": -1, "fsdp": 4, "tensor": 1})
    config.compute = ConfigDict(
        {"dtype": "bfloat16", "remat": "minimal", "attention": "auto", "accumulate_steps": 1}
    )
    config.generation = ConfigDict({"order": "locality", "num_steps": 20, "guidance_scale": 4.9})
    # As published: 50,000 images, the file of Inception's weights, ADM's .npz of mu and sigma.
    config.fid = ConfigDict({"num_images": 0, "network": "", "reference": ""})
    config.every = ConfigDict(
        {"log": 100, "evaluate": 5 * EPOCH, "save": EPOCH, "sample": EPOCH, "fid": 0}
    )
    config.keep_checkpoints = 2
    config.keep_every = 50 * EPOCH
    return config
