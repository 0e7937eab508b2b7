"""Trains the small classifier whose features judge the bundled model; a few minutes on a CPU.

    python launch/train_classifier.py --output=classifier.safetensors

The one that ships (lpd_jax/bundled/classifier/) was made by this command. Another one makes other
distances: results measured with different classifiers do not compare.
"""

from absl import flags

from lpd_jax import bundled
from lpd_jax.evaluation.avatar_classifier import save_classifier
from lpd_jax.runtime import command_line
from lpd_jax.runtime.arguments import as_path
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.studies import classifier_training

OUTPUT = flags.DEFINE_string("output", "classifier.safetensors", "The file to write.")
NUM_EPOCHS = flags.DEFINE_integer(
    "num_epochs", classifier_training.Settings.num_epochs, "Epochs.", upper_bound=10**6
)
SEED = flags.DEFINE_integer("seed", classifier_training.Settings.seed, "Of weights and batches.")


def main() -> None:
    path = check_output_file("output", as_path("output", OUTPUT.value), (".safetensors",))
    settings = classifier_training.Settings(num_epochs=NUM_EPOCHS.value, seed=SEED.value)
    images_BHWC, labels_B = bundled.load_avatars("train")
    validation = bundled.load_avatars("validation")
    trained = classifier_training.train_classifier(
        images_BHWC, labels_B, validation, bundled.CLASS_NAMES, settings
    )
    save_classifier(path, trained)
    print(f"wrote {path}: {trained.validation_accuracy:.2%} of the validation pictures right")


if __name__ == "__main__":
    command_line.run(main)
