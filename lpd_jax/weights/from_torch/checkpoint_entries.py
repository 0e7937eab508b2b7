"""Where a checkpoint keeps its weights: which of its entries, and under which names."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.weights.from_torch.torch_pickle import StandIn, TensorRecord

# Where checkpoints keep their weights, in order of preference. A moving average comes last: the
# official samplers of the models known here load "model" where both are there.
AVERAGE_KEYS = ("ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema")
WRAPPER_KEYS = ("model", "module", "state_dict", "model_state", *AVERAGE_KEYS)
WRAPPER_DEPTH = 3
# What data-parallel and compiled models put before or into the names of their weights.
PREFIXES = ("module.", "_orig_mod.", "_fsdp_wrapped_module.")
ATTRIBUTE = "model."


def find_state_dict(
    checkpoint: Any, is_model: Callable[[Iterable[str]], bool], key: str | None
) -> tuple[dict[str, TensorRecord], str]:
    """The weights among optimizer state, steps and arguments; `read_state_dict` says which.

    Also a line about which entry they are of; "" where they are the whole checkpoint.
    """
    if isinstance(checkpoint, StandIn):
        raise UserError(
            f"it holds a pickled {checkpoint.name} object; allowed is a state dict, as "
            "torch.save(model.state_dict(), file) writes it"
        )
    found = dict(_state_dicts(checkpoint, WRAPPER_DEPTH))
    allowed = [entry for entry in found if key is None or _lies_in(entry, key)]
    if key is not None and not allowed:
        known = [str(name) for name in checkpoint] if isinstance(checkpoint, dict) else []
        if key not in known:
            raise UserError(f"key: got {shown(key)}, allowed are {', '.join(known[:20])}")
    if not allowed:
        raise UserError("it holds no state dict, that is, no mapping of names to tensors")
    models = [entry for entry in found if is_model(_short_names(found[entry]))]
    taken = next((entry for entry in models if entry in allowed), allowed[0])
    others = [entry for entry in models if entry != taken]
    return clean_names(_check_weights(found[taken])), _say_which(taken, others, taken in models)


def _lies_in(entry: tuple[str, ...], key: str) -> bool:
    """Whether a key, "checkpoint.ema", names an entry or one that it lies in."""
    return any(".".join(entry[: i + 1]) == key for i in range(len(entry)))


def _say_which(taken: tuple[str, ...], others: list[tuple[str, ...]], is_model: bool) -> str:
    if not taken:
        return ""
    line = f"took entry {shown('.'.join(taken))}"
    if not others:
        return line + ", the only one with weights of a model" * is_model
    names = ", ".join(repr(".".join(entry)) for entry in others)
    return f"{line}, others with weights of a model are {names}; --key chooses"


def _state_dicts(
    value: Any, depth: int, entry: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every mapping that holds tensors directly, by its entry, the preferred ones first."""
    if not isinstance(value, dict):
        return
    named = {name: item for name, item in value.items() if isinstance(name, str)}
    if any(isinstance(item, TensorRecord) for item in named.values()):
        yield entry, named
    if depth:
        preferred = [name for name in WRAPPER_KEYS if name in named]
        for name in (*preferred, *(name for name in named if name not in preferred)):
            yield from _state_dicts(named[name], depth - 1, (*entry, name))


def _check_weights(named: dict[str, Any]) -> dict[str, TensorRecord]:
    """Leaves out what stands beside the weights; a weight we cannot read is an error."""
    for name, item in named.items():
        if isinstance(item, StandIn) and ("tensor" in item.name or "torch._utils" in item.name):
            raise UserError(
                f"weight {shown(name)} is a {item.name}; allowed are dense real tensors"
            )
    return {name: item for name, item in named.items() if isinstance(item, TensorRecord)}


def clean_names(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Removes what wrappers add: "module.a" and "_orig_mod.a" become "a"; so does "model.a" where
    all names begin so.

    Raises UserError when two names become one.
    """
    cleaned: dict[str, Any] = {}
    for (name, value), short in zip(state_dict.items(), _short_names(state_dict), strict=True):
        if short in cleaned:
            raise UserError(f"weight {shown(short)} occurs twice, once as {shown(name)}")
        cleaned[short] = value
    return cleaned


def _short_names(names: Iterable[str]) -> list[str]:
    # FSDP and torch.compile also wrap submodules, so their prefixes occur inside names.
    shorts = [x.replace("._orig_mod.", ".").replace("._fsdp_wrapped_module.", ".") for x in names]
    for i, short in enumerate(shorts):
        while short.startswith(PREFIXES):
            short = short[short.index(".") + 1 :]
        shorts[i] = short
    # A Lightning module has all weights of its model below one attribute.
    if shorts and all(short.startswith(ATTRIBUTE) for short in shorts):
        return [short.removeprefix(ATTRIBUTE) for short in shorts]
    return shorts
