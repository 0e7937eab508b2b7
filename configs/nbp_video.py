"""NBP's video tokenizer, trained as Open-MAGVIT2's: 17 frames of 128 pixels to 5x16x16 tokens.

    python launch/train.py --config=configs/nbp_video.py --workdir=gs://BUCKET/nbp_video

370 M parameters, 64,000 codes: the tokenizer of PAR's experiments on clips, whose own training code
is not released. Of the same clips, grid and size Open-MAGVIT2 (arXiv 2409.04410) has published its
recipe, which this is: UCF-101, 2,000 epochs of batch 128; L1, LPIPS of each frame, a
3-D PatchGAN with a hinge and LeCAM from the first step on, Adam with a cosine to a hundredth.

Expected: we have not trained it. Published are reconstruction FVDs of 16 (Open-MAGVIT2, 2^18 codes)
and, of these codes, 15.5 (NBP) and 32 (PAR), over other sets of clips each.
Hardware: 64 GPUs of 2 clips each in the authors' words; any mesh whose data x fsdp divides the
batch, with `--config.compute.accumulate_steps` where it does not fit.
Before it: UCF-101 and its lists, the extra `[video]`, VGG-16 and LPIPS as in configs/vq16.py, and
the tokenizer of pictures that it starts from, configs/nbp_video_pictures.py;
`--config.init_from=""` starts from nothing.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    epoch = recipes.UCF101_CLIPS // 128
    config = recipes.magvit2_tokenizer_run(epochs=2000, epoch=epoch, batch_size=128)
    config.init_from = "models/nbp_video_pictures"
    config.model = recipes.published_model("nbp_video")
    config.data = ConfigDict(
        {
            "dataset": "clips",
            "path": "UCF-101",
            "lists": "ucfTrainTestlist",
            "image_size": 128,
            "random_views": True,
        }
    )
    config.adversarial.weight = 0.3
    config.adversarial.lecam_weight = 0.05
    config.discriminator.frames = True
    del config.fid  # which knows pictures alone
    # rFVD of so many validation clips, where I3D's weights are there: see docs/evaluate.md.
    config.evaluation = ConfigDict({"num_images": 0, "network": "i3d"})
    config.every = ConfigDict(
        {
            "log": 50,
            "evaluate": 10 * epoch,
            "save": 10 * epoch,
            "sample": 10 * epoch,
            "evaluate_pictures": 100 * epoch,
        }
    )
    config.keep_every = 500 * epoch
    return config
