"""Eager PyTorch beside the compiled programs: the same weights, tasks and inputs.

`launch/benchmark.py --peer` runs it in turns with them. What a good eager implementation does:
preallocated key-value cache, fused attention, logits of the queries alone, guidance as one batch,
channels-last convolutions, fused AdamW, bfloat16 where asked for.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from os import PathLike
from typing import Any

import numpy as np
import torch

from benchmarks.torch_lpd import LPD
from benchmarks.torch_vq import VQTokenizer
from lpd_jax.models.family import family_of
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.performance.benchmark_case import TRAINING, BenchmarkCase, Inputs
from lpd_jax.performance.benchmark_model import (
    BenchmarkModel,
    LatestOnly,
    tokenizer_params,
    transformer_params,
)
from lpd_jax.runtime.errors import UserError
from lpd_jax.training.optimizer import OptimizerConfig
from lpd_jax.weights.from_torch.conversion import to_torch_names
from lpd_jax.weights.from_torch.vq import CODEBOOK_USED
from lpd_jax.weights.model_directory import load_model_directory

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_lpd(config: LPDConfig, params: Any, dtype: str = "float32") -> LPD:
    """Our parameters as a module on the device, for drawing."""
    return fill(LPD, config, params).to(DEVICE, getattr(torch, dtype)).eval()


def load_vq(config: VQConfig, params: Any) -> VQTokenizer:
    """Our parameters as a module on the device."""
    module = fill(VQTokenizer, config, params).to(DEVICE, memory_format=torch.channels_last)
    return module.eval()


def load_directory(path: str | PathLike) -> tuple[LPD | None, VQTokenizer | None]:
    """The models of a model directory; None for one that is not in it.

    Raises:
        UserError: a model of another family.
    """
    files = load_model_directory(path)
    configs = files.config.transformer, files.config.tokenizer
    for config, known in zip(configs, ("lpd", "vq"), strict=True):
        if config is not None and family_of(config).name != known:
            raise UserError(f"{path}: family: got {family_of(config).name!r}, allowed is {known!r}")
    lpd, vq = configs
    return lpd and load_lpd(lpd, files.transformer), vq and load_vq(vq, files.tokenizer)


def fill(kind: type, config: Any, params: Any) -> Any:
    with torch.device("meta"):
        module = kind(config)
    arrays = to_torch_names(config, params)
    arrays.pop(CODEBOOK_USED, None)
    # Copies, one at a time: some arrays are views of what JAX holds.
    state = {name: torch.tensor(arrays.pop(name)) for name in list(arrays)}
    module.load_state_dict(state, assign=True)
    return module.requires_grad_(True)


class Trainer:
    """Training steps as `train_step` takes them: dropped labels, random orders, AdamW."""

    def __init__(self, model: LPD, dtype: str):
        self.model, self.dtype = model.train(), getattr(torch, dtype)
        recipe = OptimizerConfig()
        decayed = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        self.clip_norm = recipe.clip_norm
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
            betas=(recipe.beta1, recipe.beta2),
            eps=recipe.epsilon,
            weight_decay=recipe.weight_decay,
            fused=True,
        )

    def gradient(self, tokens_BN: torch.Tensor, labels_B: torch.Tensor, schedule: Any) -> Any:
        """The loss, whose gradients are then those of the parameters."""
        cfg = self.model.config
        dropped_B = torch.rand(labels_B.shape, device=DEVICE) < cfg.label_drop_rate
        labels_B = torch.where(dropped_B, cfg.null_class, labels_B)
        order_BN = torch.rand(tokens_BN.shape, device=DEVICE).argsort(1)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE.type, self.dtype, enabled=self.dtype != torch.float32):
            loss = self.model(tokens_BN, labels_B, order_BN, schedule)
        loss.backward()
        return loss.detach()

    def step(self, tokens_BN: torch.Tensor, labels_B: torch.Tensor, schedule: Any) -> Any:
        loss = self.gradient(tokens_BN, labels_B, schedule)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        return loss


@LatestOnly
def module_of(model: BenchmarkModel, dtype: str) -> LPD:
    params = transformer_params(model, dtype)
    return load_lpd(model.transformer, params, dtype)


@LatestOnly
def tokenizer_module_of(model: BenchmarkModel) -> VQTokenizer:
    return load_vq(model.tokenizer, tokenizer_params(model))


class TorchPeer:
    """The peer of `lpd_jax.performance.measure`."""

    def __init__(self) -> None:
        # As JAX multiplies float32 where it is not told otherwise.
        if DEVICE.type == "cuda":
            torch.set_float32_matmul_precision("high")
        self.name = f"PyTorch {torch.__version__}, eager, {torch.get_num_threads()} threads"

    def runner(
        self, case: BenchmarkCase, model: BenchmarkModel, inputs: Inputs
    ) -> Callable[[], object] | None:
        """Does a case's task once and waits for the device; None for other families than LPD.

        Raises:
            MemoryError: now, or when it is called, for what does not fit.
        """
        if DEVICE.type == "cuda":
            torch.cuda.empty_cache()
        if family_of(model.transformer).name != "lpd":
            return None
        task = self.training if case.task in TRAINING else self.inference
        with memory_errors():
            return synchronised(task(case, model, inputs))

    def inference(
        self, case: BenchmarkCase, model: BenchmarkModel, inputs: Inputs
    ) -> Callable[[], object]:
        request, grid_size = inputs.request, model.transformer.grid_size
        if case.task == "encode":
            images_BHWC = torch.from_numpy(inputs.images_BHWC).to(DEVICE)
            return functools.partial(tokenizer_module_of(model).encode, images_BHWC)
        if case.task == "decode":
            tokens_BN = to_device(inputs.tokens_BN)
            return functools.partial(tokenizer_module_of(model).decode, tokens_BN, grid_size)
        draw = functools.partial(
            module_of(model, case.dtype).eval().generate,
            to_device(request.labels),
            to_device(request.order),
            request.schedule,
            case.guidance_scale,
            request.guidance.schedule,
        )
        if case.task == "tokens":
            return draw
        decode = tokenizer_module_of(model).decode
        return lambda: decode(draw(), grid_size)

    def training(
        self, case: BenchmarkCase, model: BenchmarkModel, inputs: Inputs
    ) -> Callable[[], object]:
        # A schedule of one length, where a run draws among many: all runs take as long.
        trainer = Trainer(module_of(model, "float32"), case.dtype)
        module_of.forget()  # its weights are about to change
        function = trainer.gradient if case.task == "gradient" else trainer.step
        batch = to_device(inputs.tokens_BN), to_device(inputs.request.labels)
        return functools.partial(function, *batch, inputs.request.schedule)


def to_device(numbers: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(numbers)).long().to(DEVICE)


def synchronised(run: Callable[[], object]) -> Callable[[], object]:
    """Returns when the device is done, as our own runners do."""

    def wait() -> object:
        with memory_errors():
            output = run()
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()
            return output

    return wait


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """PyTorch's own kind of error as Python's, which the benchmark knows."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from None
