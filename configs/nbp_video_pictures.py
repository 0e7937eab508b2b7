"""The twin for pictures of NBP's video tokenizer: 128 pixels to 16x16 tokens of 64,000 codes.

    python launch/train.py --config=configs/nbp_video_pictures.py \
      --workdir=gs://BUCKET/nbp_video_pictures
    python launch/export.py --workdir=gs://BUCKET/nbp_video_pictures \
      --output=models/nbp_video_pictures

The layers of the video tokenizer without time, trained on ImageNet. Its kernels become the last
time tap of the video tokenizer's, configs/nbp_video.py, which so begins with all that pictures
teach: Open-MAGVIT2's way (arXiv 2409.04410).

Expected: we have not trained it, and nobody has published a figure for these codes.
The recipe is Open-MAGVIT2's for ImageNet at 128 pixels: 350 epochs of batch 256, L1, LPIPS, a
PatchGAN with a hinge and LeCAM. Its rate falls to a tenth after 250 and after 300 epochs; here it
falls along a cosine after 250.
Hardware: 32 GPUs of 8 pictures each in the authors' words.
Before it: ImageNet, VGG-16 and LPIPS as in configs/vq16.py.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    epoch = recipes.imagenet_epoch(batch_size=256)
    config = recipes.magvit2_tokenizer_run(
        epochs=350, epoch=epoch, batch_size=256, constant_epochs=248
    )
    config.model = recipes.published_model("nbp_video")
    config.model.family = "video_pictures"
    config.model.time_strides = ()
    config.data = recipes.imagenet_pictures(image_size=128)
    config.adversarial.weight = 0.1
    config.adversarial.lecam_weight = 0.01
    return config
