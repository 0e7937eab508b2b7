"""Opens a page to paint on: draw, watch it come about, repaint, compare.

    python launch/app.py
    python launch/app.py --model=DIR --more_models=avatars12 --port=8765
    python launch/app.py --host=0.0.0.0 --hosts=paint.example.org

It prints the address to open in a browser, and answers this machine alone unless --host says
otherwise. Whoever reaches it can draw: it knows no users. What the page does is a JSON API, which
docs/page.md tells of.
"""

from collections.abc import Mapping

from absl import flags

from lpd_jax.generation.model_help import model_help
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime import command_line
from lpd_jax.runtime.arguments import check_number
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.weights.hub import DEFAULT_MODEL, find_model_directory
from lpd_jax.weights.model_directory import directory_digest

with command_line.imports_of("page"):
    from lpd_jax.evaluation.avatar_classifier import load_classifier
    from lpd_jax.evaluation.judges import AVATARS, default_network
    from lpd_jax.web.guards import checked_hosts
    from lpd_jax.web.server import listen, make_app, server_of
    from lpd_jax.web.studio import Classifier, Studio

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "A bundled model, a folder, or owner/name.")
MORE_MODELS = flags.DEFINE_list("more_models", [], "Others, to draw with and to compare.")
HOST = flags.DEFINE_string("host", "127.0.0.1", "The address to listen on; 0.0.0.0 is all.")
PORT = flags.DEFINE_integer("port", 8765, "Of the address; 0 is any.", 0, 65535)
HOSTS = flags.DEFINE_list("hosts", [], "Names by which others reach this server.")
QUEUE = flags.DEFINE_integer("queue", 64, "Pictures that may wait.", 1, 10_000)
TIME_LIMIT = flags.DEFINE_float("time_limit", 120.0, "Seconds that one may take.")

LONGEST_LIMIT = 86_400.0  # seconds


def main() -> None:
    # absl's own bounds let NaN pass.
    time_limit = check_number("time_limit", TIME_LIMIT.value, 1.0, LONGEST_LIMIT)
    hosts = checked_hosts(HOSTS.value)
    with listen(HOST.value, PORT.value) as sock:
        studio = load_models()
        app = make_app(studio, most_waiting=QUEUE.value, time_limit=time_limit, hosts=hosts)
        host = f"[{HOST.value}]" if ":" in HOST.value else HOST.value
        print(f"open http://{host}:{sock.getsockname()[1]}/ (Ctrl-C stops it)", flush=True)
        server_of(app).run(sockets=[sock])


def load_models() -> Studio:
    """All models, by names that tell nothing of this machine's folders."""
    pipes, digests = {}, {}
    for option, given in [("model", MODEL.value), *(("more_models", x) for x in MORE_MODELS.value)]:
        directory = find_model_directory(given)
        name = given.rstrip("/").rpartition("/")[2].strip(".") or "model"
        if name in pipes:
            raise UserError(f"{option}: got a second {shown(name)}, allowed is one of each name")
        pipes[name], digests[name] = (
            Pipeline.from_pretrained(directory),
            directory_digest(directory),
        )
    return Studio(pipes, digests, classifiers_of(pipes))


def classifiers_of(pipes: Mapping[str, Pipeline]) -> dict[str, Classifier]:
    """What says how good a picture is, for models whose pictures it knows."""
    known = [name for name, pipe in pipes.items() if default_network(pipe.config) == AVATARS]
    if not known:
        return {}
    classifier = Classifier(AVATARS, load_classifier().probabilities)
    return dict.fromkeys(known, classifier)


def run() -> None:
    command_line.run(main, more_help=model_help, module=__name__)
