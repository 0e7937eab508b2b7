"""Judges many ways to draw with a model, and writes a table, plots and, if asked, the best one.

    python launch/sweep.py --guidance_scale=1,1.5,2,3 --num_steps=12,20 --output=sweep
    python launch/sweep.py --model=DIR --order=locality,halton --temperature=0.9,1 --write_best
    python launch/sweep.py --model=lpd_l_256 --network=inception.pth --num_images=10000 \\
        --reference=VIRTUAL_imagenet256_labeled.npz --guidance_scale=3,4,5 --output=sweep

All combinations are drawn by one model, compiled once for each schedule. Writes OUTPUT/sweep.csv
after each point, and OUTPUT/sweep_trade_off.png and OUTPUT/sweep_steps.png. Stopped, even by
kill -9, the same command goes on where it was; one with other values of these four adds to what is
there. --write_best puts the choices of the smallest distance into the config.json of the model
directory.
"""

import jax
from absl import flags, logging

from lpd_jax.generation.choices import define_flags, read_flags
from lpd_jax.runtime import command_line, processes
from lpd_jax.runtime.arguments import parse_number, parse_whole
from lpd_jax.runtime.atomic_files import check_output_folder
from lpd_jax.weights.hub import DEFAULT_MODEL
from lpd_jax.weights.model_directory import check_own_directory, write_generation

with command_line.imports_of("train"):
    from lpd_jax.evaluation.drawn_pictures import LABELS, Drawer, check_plan
    from lpd_jax.evaluation.judges import default_network, open_judge
    from lpd_jax.evaluation.references import open_reference
    from lpd_jax.evaluation.suites import suites_for
    from lpd_jax.evaluation.sweep import (
        AXES,
        best_of,
        generation_of,
        make_points,
        row_of,
        run_sweep,
    )
    from lpd_jax.evaluation.sweep_plots import plot_sweep
    from lpd_jax.training.export import load_models

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "A bundled model, a folder, owner/name, a run.")
NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 0, "Of each point. Default: 50 of each class.", lower_bound=0
)
LABEL_KIND = flags.DEFINE_enum("labels", LABELS[0], list(LABELS), "Classes in turn, or at random.")
NETWORK = flags.DEFINE_string(
    "network", "", "avatars12, efficientnet, or Inception's weights; of clips I3D's."
)
REFERENCE = flags.DEFINE_string("reference", "", "An .npz, a folder of pictures or a data set.")
SUITES = flags.DEFINE_list(
    "suites", [], "adm, torch_fidelity; of clips styleganv, tats. Default: all that fit."
)
OUTPUT = flags.DEFINE_string("output", "sweep", "Folder.")
WRITE_BEST = flags.DEFINE_bool("write_best", False, "Put the best choices into config.json.")
STEPS = flags.DEFINE_list("num_steps", [], "Decoding steps.")
ORDERS = flags.DEFINE_list("order", [], "raster, random, halton, locality or region.")
GUIDANCE = flags.DEFINE_list("guidance_scale", [], "Scales of guidance; 1 is off.")
TEMPERATURES = flags.DEFINE_list("temperature", [], "Temperatures.")
CHOICES = define_flags(leave_out=[*AXES, "group_sizes"])
processes.define_host_flags()


def main() -> None:
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)
    with processes.job():
        sweep()


def sweep() -> None:
    folder = check_output_folder("output", OUTPUT.value)
    if WRITE_BEST.value:
        check_own_directory(MODEL.value, "model")
    files = load_models(MODEL.value)
    base = files.config.generation.updated(read_flags(CHOICES))
    points = make_points(
        base,
        {
            "num_steps": [parse_whole("num_steps", text) for text in STEPS.value],
            "order": ORDERS.value,
            "guidance_scale": [parse_number("guidance_scale", text) for text in GUIDANCE.value],
            "temperature": [parse_number("temperature", text) for text in TEMPERATURES.value],
        },
    )
    for point in points:
        check_plan(files.config, point, NUM_IMAGES.value, LABEL_KIND.value)
    judge = open_judge(NETWORK.value or default_network(files.config))
    suites_for(judge, SUITES.value)
    drawer = Drawer(files, MODEL.value)
    first = drawer.pictures(points[0], NUM_IMAGES.value, LABEL_KIND.value)
    reference = open_reference(REFERENCE.value, first, judge)
    records = run_sweep(
        drawer,
        judge,
        reference,
        points,
        folder,
        num_images=NUM_IMAGES.value,
        labels=LABEL_KIND.value,
        suites=SUITES.value,
    )
    if jax.process_index() > 0:
        return
    rows = list(map(row_of, records))
    for path in plot_sweep(rows, folder):
        print(f"wrote {path}")
    best, name = best_of(rows)
    chosen = ", ".join(f"{axis} {rows[best][axis]}" for axis in AXES)
    print(f"best {name}: {rows[best][name]:.4g}, of {chosen}")
    if WRITE_BEST.value:
        write_generation(MODEL.value, generation_of(records[best], base))
        print(f"wrote it into {MODEL.value}")


def run() -> None:
    command_line.run(main, module=__name__)
