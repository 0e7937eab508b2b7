"""Pictures and clips judged: the protocol, the metrics, the references, and the networks.

A network makes features of pictures (`open_judge` by name, or `load_inception`,
`load_efficientnet`, and `load_classifier` for the bundled avatars), or of clips (`load_i3d`); the
functions of `metrics`, and `fvd`, compare features and know no network. `evaluate` is what
launch/evaluate.py runs.
"""

from typing import TYPE_CHECKING

from lpd_jax.runtime.first_use import on_first_use

if TYPE_CHECKING:
    from lpd_jax.evaluation.avatar_classifier import (
        Classifier,
        load_classifier,
    )
    from lpd_jax.evaluation.clip_sets import (
        ClipChoices,
        open_clip_set,
    )
    from lpd_jax.evaluation.drawn_pictures import (
        Drawer,
        DrawnPictures,
    )
    from lpd_jax.evaluation.efficientnet import (
        EfficientNet,
        load_efficientnet,
    )
    from lpd_jax.evaluation.fid import (
        FIDConfig,
    )
    from lpd_jax.evaluation.frechet_video import (
        fvd,
    )
    from lpd_jax.evaluation.i3d import (
        I3D,
        load_i3d,
    )
    from lpd_jax.evaluation.inception import (
        Inception,
        load_inception,
    )
    from lpd_jax.evaluation.judges import (
        Judge,
        open_judge,
    )
    from lpd_jax.evaluation.metrics import (
        RunningStatistics,
        Statistics,
        feature_statistics,
        frechet_distance,
        frechet_spread,
        inception_score,
        kernel_distance,
        load_statistics,
        precision_recall,
        save_statistics,
    )
    from lpd_jax.evaluation.picture_sets import (
        PictureSet,
        open_pictures,
    )
    from lpd_jax.evaluation.protocol import (
        evaluate,
    )
    from lpd_jax.evaluation.reconstruction import (
        ReconstructionReport,
        measure_reconstruction,
        reconstruction_picture,
    )
    from lpd_jax.evaluation.references import (
        Reference,
        load_reference,
        make_reference,
        save_reference,
    )

__all__ = [
    "I3D",
    "Classifier",
    "ClipChoices",
    "Drawer",
    "DrawnPictures",
    "EfficientNet",
    "FIDConfig",
    "Inception",
    "Judge",
    "PictureSet",
    "ReconstructionReport",
    "Reference",
    "RunningStatistics",
    "Statistics",
    "evaluate",
    "feature_statistics",
    "frechet_distance",
    "frechet_spread",
    "fvd",
    "inception_score",
    "kernel_distance",
    "load_classifier",
    "load_efficientnet",
    "load_i3d",
    "load_inception",
    "load_reference",
    "load_statistics",
    "make_reference",
    "measure_reconstruction",
    "open_clip_set",
    "open_judge",
    "open_pictures",
    "precision_recall",
    "reconstruction_picture",
    "save_reference",
    "save_statistics",
]

# They import SciPy, and others the packages of `lpd_jax[train]`.
__getattr__ = on_first_use(
    __name__,
    {
        "Classifier": "avatar_classifier",
        "ClipChoices": "clip_sets",
        "Drawer": "drawn_pictures",
        "DrawnPictures": "drawn_pictures",
        "EfficientNet": "efficientnet",
        "FIDConfig": "fid",
        "I3D": "i3d",
        "Inception": "inception",
        "Judge": "judges",
        "PictureSet": "picture_sets",
        "ReconstructionReport": "reconstruction",
        "Reference": "references",
        "RunningStatistics": "metrics",
        "Statistics": "metrics",
        "evaluate": "protocol",
        "feature_statistics": "metrics",
        "frechet_distance": "metrics",
        "frechet_spread": "metrics",
        "fvd": "frechet_video",
        "inception_score": "metrics",
        "kernel_distance": "metrics",
        "load_classifier": "avatar_classifier",
        "load_efficientnet": "efficientnet",
        "load_i3d": "i3d",
        "load_inception": "inception",
        "load_reference": "references",
        "load_statistics": "metrics",
        "make_reference": "references",
        "measure_reconstruction": "reconstruction",
        "open_clip_set": "clip_sets",
        "open_judge": "judges",
        "open_pictures": "picture_sets",
        "precision_recall": "metrics",
        "reconstruction_picture": "reconstruction",
        "save_reference": "references",
        "save_statistics": "metrics",
    },
    extra="train",
)
