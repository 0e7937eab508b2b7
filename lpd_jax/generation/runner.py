"""Requests on the device: compiled once for each kind, run batch by batch.

Letters: B images, N tokens per image.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.generation.batches import BATCH_SIZES, Chunk, batch_size_for, chunks_of
from lpd_jax.generation.generate import generate_images, generate_tokens
from lpd_jax.generation.programs import Programs
from lpd_jax.generation.request import Request, check_request
from lpd_jax.generation.tokenizing import decode_pictures, encode_pictures
from lpd_jax.models.family import tokenizer_of
from lpd_jax.runtime.jax_settings import own_settings
from lpd_jax.runtime.mesh import batch_sharding, mesh_of
from lpd_jax.weights.directory_config import DirectoryConfig


class Drawn(NamedTuple):
    """Pictures, and the tokens that they were decoded from."""

    images: np.ndarray  # uint8 [B, H, W, 3]
    tokens: np.ndarray  # int32 [B, N], raster order


class Runner:
    """A model's weights and the programs that draw with them."""

    def __init__(
        self,
        config: DirectoryConfig,
        params: Mapping[str, Any],
        devices: Sequence[jax.Device] = (),
    ):
        """Args:
        config: of the model directory.
        params: on the device, of "transformer" and "tokenizer", as they are drawn with.
        devices: of this process, that share each batch; each holds the whole model. With fewer
            than two, pictures are drawn where the parameters are.
        """
        self.config, self.params = config, dict(params)
        self.num_devices = 1
        self.sharding: jax.sharding.NamedSharding | None = None
        if len(devices) > 1:
            mesh = mesh_of((len(devices), 1, 1), devices)
            self.num_devices, self.sharding = len(devices), batch_sharding(mesh)
            self.params = jax.device_put(self.params, jax.sharding.NamedSharding(mesh, jax.P()))
        self.programs = Programs()

    def __getstate__(self) -> dict[str, Any]:
        # On the host: a process that was forked cannot even read JAX's arrays from a pickle.
        return vars(self) | {"params": jax.device_get(self.params)}

    def place(self) -> None:
        """Puts weights that came from a pickle or a copy where they are drawn with."""
        if any(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(self.params)):
            whole = self.sharding and jax.sharding.NamedSharding(self.sharding.mesh, jax.P())
            self.params = jax.device_put(self.params, whole)

    def run(
        self, request: Request, to_images: bool, batch_size: int | None = None
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """Outputs on the host, a batch at a time; the next one runs meanwhile.

        Args:
            request: any number of pictures.
            to_images: whether the tokenizer decodes them.
            batch_size: see `rows_at_once`.

        Yields:
            Pictures uint8 `[B, H, W, 3]`, with `to_images` alone, and tokens int32 `[B, N]`.
        """
        left = len(check_request(request, self.config).labels)
        size = self.rows_at_once(request, batch_size)
        chunks = self.chunks(request, size)
        running = self.start_next(chunks, request, to_images)
        while started := self.start_next(chunks, request, to_images):
            drawn, running = on_host(running), started
            yield drawn
            left -= size
        yield tuple(output[:left] for output in on_host(running))

    @own_settings()  # not around `run`: what is done with a batch in between is the caller's
    def start_next(
        self, chunks: Iterator[Chunk], request: Request, to_images: bool
    ) -> tuple[jax.Array, ...] | None:
        """Starts drawing the next chunk; None after the last."""
        self.place()
        chunk = next(chunks, None)
        if chunk is None:
            return None
        execute = self.program(request, chunk, to_images)
        return execute(self.params, chunk, request.sampling, request.guidance)

    @own_settings()
    def compile(self, request: Request, batch_size: int | None = None) -> None:
        """Compiles what drawing the pictures of such a request needs, if it is not there."""
        self.place()
        chunk = next(self.chunks(request, self.rows_at_once(request, batch_size)))
        self.program(request, chunk, to_images=True)

    def chunks(self, request: Request, size: int) -> Iterator[Chunk]:
        """`chunks_of`, where they are drawn."""
        chunks = chunks_of(request, size)
        if self.sharding is None:
            return chunks
        return (jax.device_put(chunk, self.sharding) for chunk in chunks)

    def rows_at_once(self, request: Request, batch_size: int | None) -> int:
        """How many pictures of a request all devices draw at once.

        Args:
            batch_size: of one device; None is what suits it. Smaller requests share its program,
                but where it is larger than what suits any: then they are drawn as what they are.
        """
        each = -(-len(request.labels) // self.num_devices)
        if batch_size is None:
            return self.num_devices * self.suited(each, request)
        is_shared = batch_size <= self.suited(BATCH_SIZES[0], request)
        return self.num_devices * (batch_size if is_shared else min(batch_size, each))

    def suited(self, num_images: int, request: Request) -> int:
        """How many of so many pictures, or clips, one device draws at once."""
        if self.config.tokenizer is None:
            return batch_size_for(num_images)
        grid = self.config.need("transformer").grid_size
        *frames, height, width = tokenizer_of(self.config.tokenizer).size_of(grid)
        scale = max(1.0, (request.generation.output_size or 0) / height)
        num_pixels = round(scale * height) * round(scale * width)
        return batch_size_for(num_images, math.prod(frames), num_pixels)

    @own_settings()
    def encode(self, images: Any) -> np.ndarray:
        """Tokens int32 `[B, h, w]`; see `encode_pictures`."""
        self.place()
        return encode_pictures(
            self.config.tokenizer, self.params["tokenizer"], images, self.programs
        )

    @own_settings()
    def decode(self, tokens: Any, grid: tuple[int, ...]) -> np.ndarray:
        """Pictures uint8 `[B, H, W, 3]`; see `decode_pictures`."""
        self.place()
        part = (self.config.tokenizer, self.params["tokenizer"])
        return decode_pictures(*part, tokens, grid, self.programs)

    def program(self, request: Request, chunk: Chunk, to_images: bool) -> Any:
        """The compiled function; labels, orders, masks, seed and traced choices share it."""
        arguments = (self.params, chunk, request.sampling, request.guidance)
        num_known = 0 if chunk.known is None else chunk.known.tokens_BK.shape[1]
        output_size = request.generation.output_size if to_images else None
        dtype = jnp.dtype(request.generation.dtype)
        static = (to_images, request.schedule, output_size, dtype, len(chunk.labels_B), num_known)

        def run(params, chunk, sampling, guidance):
            rows = (chunk.labels_B, chunk.order_BN, chunk.keys_B)
            choices = {"schedule": request.schedule, "sampling": sampling, "guidance": guidance}
            choices |= {"known": chunk.known, "dtype": dtype}
            model = (self.config.transformer, params["transformer"])
            if not to_images:
                return (generate_tokens(*model, *rows, **choices),)
            tokenizer = (self.config.tokenizer, params["tokenizer"])
            choices["output_size"] = output_size
            return generate_images(*model, *tokenizer, *rows, **choices)

        return self.programs.find(
            (*static, jax.tree.structure(arguments)),
            lambda: jax.jit(run).lower(*arguments).compile(),
        )


def on_host(outputs: Any) -> tuple[np.ndarray, ...]:
    """Copies that whoever gets them may write to; what JAX gives is read-only."""
    return tuple(map(np.array, jax.device_get(outputs)))
