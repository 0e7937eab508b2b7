"""LlamaGen's VQ-8: 256 pixels to 32 x 32 tokens of 16,384 codes; 70 M parameters.

    python launch/train.py --config=configs/vq8.py --workdir=gs://BUCKET/vq8

Expected (published, arXiv 2406.06525): reconstruction FID 0.59 over the 50,000 validation pictures
of ImageNet.
Hardware: 1.8 times the arithmetic of VQ-16; any mesh whose data x fsdp divides the batch.
Before it: pictures and weights, as `configs/vq16.py` says.

The recipe is VQ-16's: the released code has one for both.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    return recipes.llamagen_tokenizer_run("vq8", epochs=40)
