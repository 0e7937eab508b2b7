"""A pipeline that draws at once, or when it is told to: the picture says its seed and its class.

And servers: one that a test speaks with directly, one that is reached over real connections.
"""

import base64
import contextlib
import io
import struct
import threading
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from lpd_jax.generation.request import make_request
from lpd_jax.models.settings import Generation
from lpd_jax.pipeline import Drawn
from lpd_jax.web.server import listen, make_app, server_of
from lpd_jax.web.studio import Studio
from lpd_jax.weights.directory_config import DirectoryConfig
from tests import tiny

# The order that takes no time to make.
GENERATION = Generation(order="raster", num_steps=4, guidance_schedule="linear")
CONFIG = DirectoryConfig(tiny.LPD, tiny.VQ, (8, 8), tuple(tiny.CLASS_NAMES), GENERATION)


def picture_of(seed: int, label: int) -> np.ndarray:
    return np.random.default_rng([seed, label]).integers(0, 256, (8, 8, 3), np.uint8)


class FakePipeline:
    """Draws while `gate` is open; fails with `error` where there is one."""

    config, class_names = CONFIG, tiny.CLASS_NAMES
    grid_size, image_size, num_tokens = (4, 4), (8, 8), 16

    def __init__(self):
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()
        self.seeds, self.error, self.at_once, self.most_at_once = [], None, 0, 0

    def request(self, labels, **choices):
        return make_request(self.config, labels, **choices)

    def compile(self, request, mask=None, replay=False):
        return 0.0

    def draw(self, request):
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        self.seeds.append(request.seed)
        self.entered.set()
        assert self.gate.wait(60)
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        pictures = [picture_of(request.seed, int(label)) for label in request.labels]
        return Drawn(np.stack(pictures), np.zeros((len(pictures), 16), np.int32))

    def encode(self, images):
        return np.zeros((len(images), 16), np.int32)

    def decode(self, tokens):
        return np.zeros((len(tokens), 8, 8, 3), np.uint8)

    def partial_images(self, tokens_BN, order_BN, schedule):
        for _ in range(schedule.num_steps):
            yield self.decode(tokens_BN)


def client_of(pipes, **options) -> TestClient:
    """Speaks with a server of these pipelines, once it is entered."""
    app = make_app(Studio(pipes), **options)
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


def below(folder: str, app):
    """An app as a proxy shows it that has others beside it: in a folder, and nothing elsewhere."""

    async def proxy(scope, receive, send):
        if scope["type"] == "http":
            inside = scope["path"].startswith(f"{folder}/")
            path = scope["path"].removeprefix(folder) if inside else "/not/here"
            scope = scope | {"path": path}
        await app(scope, receive, send)

    return proxy


@contextlib.contextmanager
def serving(studio: Studio, folder: str = "", **options) -> Iterator[int]:
    """The port of a server on this machine."""
    with listen("127.0.0.1", 0) as sock:
        server = server_of(below(folder, make_app(studio, **options)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(60)


def in_base64(image_HWC: np.ndarray, form: str = "PNG") -> str:
    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, format=form)
    return base64.b64encode(file.getvalue()).decode()


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
