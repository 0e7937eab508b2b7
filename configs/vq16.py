"""LlamaGen's VQ-16: 256 pixels to 16 x 16 tokens of 16,384 codes; 72 M parameters.

    python launch/train.py --config=configs/vq16.py --workdir=gs://BUCKET/vq16

Expected (published, arXiv 2406.06525): reconstruction FID 2.19 over the 50,000 validation pictures
of ImageNet, 20.79 dB, SSIM 0.675.
Hardware: 8 A100 for about two days in the authors' words; any mesh whose data x fsdp divides the
batch.
Before it: ImageNet as `data/imagenet/train/CLASS/*.JPEG` and `data/imagenet/val/CLASS/*.JPEG`, the
weights of VGG-16 that PyTorch downloads, and LPIPS's `vgg.pth`:
`--config.perceptual.weights=vgg16-397923af.pth --config.perceptual.lpips_weights=vgg.pth`.
Without them `--config.perceptual.network=efficientnet_lite0` needs a package only.

The recipe is that of the released code: 40 epochs at a constant 1e-4, squared error and LPIPS of
weight 1, a hinge discriminator of weight 0.5 from step 20,000 on; crops of 0.8 to 1 of the short
side, mirrored or not. Unlike there, LPIPS's dropout is off.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    return recipes.llamagen_tokenizer_run("vq16", epochs=40)
