"""Linear layers, and the matrix product that suits the processor.

PyTorch multiplies float32 matrices on a CPU by MKL, which is not the fastest everywhere: on AMD's Zen 4 oneDNN,
which PyTorch carries as well, is 1.1 to 1.5 times as fast. Two ways lead to it: a weight packed into oneDNN's own
layout (for inference: it is packed once), and a 1x1 convolution, which is the same product and needs no preparation.
A short measurement, once a process, says which is worth it here; the environment variable `PERCEIVERS_LINEAR` says
so instead when it is one of `BACKENDS`.
"""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

BACKENDS = ("packed", "convolution", "plain")
_VARIABLE = "PERCEIVERS_LINEAR"
# Below so many rows a product is too small for the preparation of a convolution to pay.
_FEWEST_ROWS = 1024
# What packing is tuned for; a packed weight multiplies any number of rows.
_ROWS_HINT = 512
# Rows, inner width and columns of the measurement: few rows, as the latents are, or many, as inputs are. By how much
# a way must be faster than MKL to be taken.
_MEASURED = {"packed": (256, 1024, 1024), "convolution": (4096, 320, 320)}
_GAIN = 1.03
# Pairs of the measurement: it ends when neither way has become faster, by the second number, for the first.
_SETTLED_PAIRS, _SETTLED_GAIN = 10, 1.01
_MOST_PAIRS = 100

_Product = Callable[[Tensor], Tensor]
_Prepare = Callable[[Tensor, Tensor], _Product]


class Linear(nn.Linear):
    """A linear layer whose weight can lie packed for inference on a CPU.

    Packed or not it has the same parameters, state dict and results (to rounding). Whatever would need the weight
    itself, training, another device or number format, a copy, unpacks it first. Packed in half precision it serves
    autocast; outside of it the layer multiplies by the weight that was packed.
    """

    # The parameter that stands aside while its packed form stands in its place: without memory when the packed form
    # holds the same numbers.
    _aside: nn.Parameter | None = None
    # What `nn.frugal` keeps beside the weight for the length of one forward pass.
    beside: Any = None

    def forward(self, input: Float[Tensor, "... C"]) -> Float[Tensor, "... E"]:
        """Multiply each row by the weight and add the bias."""
        weight, bias = self.weight, self.bias
        if self._multiplies_packed(input):
            return packed_product(input, weight, bias)
        if self._multiplies_half(input):
            return packed_product(input.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype))
        if weight.is_mkldnn:
            return functional.linear(input, self.dense_weight(), bias)
        if _by_convolution(input, weight) and not torch.is_grad_enabled() and "convolution" in _faster():
            return _convolution_product(input, weight, bias)
        return functional.linear(input, weight, bias)

    def _multiplies_packed(self, input: Tensor) -> bool:
        return (
            self.weight.is_mkldnn and input.dtype == self.weight.dtype == torch.float32 and not torch.is_grad_enabled()
        )

    def _multiplies_half(self, input: Tensor) -> bool:
        weight = self.weight
        return (
            weight.is_mkldnn
            and weight.dtype != torch.float32
            and torch.is_autocast_enabled("cpu")
            and torch.get_autocast_dtype("cpu") == weight.dtype
            and not torch.is_grad_enabled()
        )

    @property
    def is_packed(self) -> bool:
        """Whether the weight lies packed."""
        return self._aside is not None

    def dense_weight(self) -> Float[Tensor, "E C"]:
        """Return the weight as a matrix, whichever way it lies."""
        if self._aside is not None and self._aside.numel() > 0:
            return self._aside
        return self.weight.to_dense() if self.weight.is_mkldnn else self.weight

    def pack(self, dtype: torch.dtype = torch.float32) -> None:
        """Pack the weight, when it lies on a CPU in float32.

        Args:
            dtype: Number format of the packed form. In float32 the memory of the parameter is given back; another one
                has lost digits, and lies beside the parameter.
        """
        if self.is_packed and self.weight.dtype != dtype:
            self.unpack()
        weight = self.weight
        if self.is_packed or not _packable(weight):
            return
        packed = nn.Parameter(pack_weight(weight.detach().to(dtype)), requires_grad=False)
        if dtype == weight.dtype:
            with _mode_of(weight):
                weight.data = weight.data.new_empty(0)
        # Not as a parameter of the module: only its packed form is one now.
        object.__setattr__(self, "_aside", weight)
        self.weight = packed

    def unpack(self) -> None:
        """Put the parameter back in its place, the same object as before."""
        if self._aside is not None:
            weight = self._aside
            object.__setattr__(self, "_aside", None)
            if weight.numel() == 0:
                with _mode_of(weight), torch.no_grad():
                    weight.data = self.weight.to_dense()
            self.weight = weight

    def train(self, mode: bool = True) -> "Linear":
        """Unpack for training."""
        if mode:
            self.unpack()
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.unpack()
        return super()._apply(fn, recurse)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.is_packed:
            destination[prefix + "weight"] = self.dense_weight().detach()

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        self.unpack()
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "Linear":
        copy = Linear(1, 1)
        copy.__dict__.update(self.__getstate__())
        copy._parameters = {
            name: None if p is None else nn.Parameter(p.detach().clone(), p.requires_grad)
            for name, p in copy._parameters.items()
        }
        memo[id(self)] = copy
        return copy

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_parameters": dict(self._parameters)}
        if self._aside is not None:
            state["_parameters"]["weight"] = nn.Parameter(self.dense_weight(), self._aside.requires_grad)
            state["_aside"] = None
        return state


def pack_linears(model: nn.Module) -> None:
    """Pack every linear layer of a model in evaluation mode, where that is faster; see `Linear.pack`.

    `model.train()`, and moving or casting the model, unpack them again.
    """
    if model.training or "packed" not in _faster():
        return
    for module in model.modules():
        if isinstance(module, Linear):
            module.pack()


def _mode_of(parameter: Tensor) -> AbstractContextManager[Any]:
    """Return the mode in which a parameter was made: one that is filled in inference mode could not be trained."""
    return torch.inference_mode(parameter.is_inference())


def is_free(layer: nn.Module) -> bool:
    """Return whether a layer is a `Linear` that nobody watches or stands in for, so that its numbers say all."""
    return isinstance(layer, Linear) and not is_watched(layer)


def is_watched(module: nn.Module) -> bool:
    """Return whether hooks wait for a call of a module."""
    return bool(module._forward_pre_hooks or module._forward_hooks)


@cache
def packs_half(dtype: torch.dtype) -> bool:
    """Return whether weights can lie packed in a number format of half the size, on this processor."""
    if dtype != torch.bfloat16 or os.environ.get(_VARIABLE, "packed") != "packed" or "packed" not in _ways():
        return False
    rows, weight = torch.ones(3, 4, dtype=dtype), torch.ones(5, 4, dtype=dtype)
    try:
        return torch.equal(packed_product(rows, pack_weight(weight), None), rows @ weight.mT)
    except (RuntimeError, TypeError):
        return False


def activated(layer: nn.Module, input: Float[Tensor, "... C"], approximate: str) -> Float[Tensor, "... E"]:
    """Return the GELU of what a layer gives, in one operation where its weight is packed."""
    if isinstance(layer, Linear) and layer._multiplies_packed(input) and is_free(layer):
        return _packed_gelu(input, layer.weight, layer.bias, approximate)
    return functional.gelu(layer(input), approximate=approximate)


def added(layer: nn.Module, input: Float[Tensor, "... C"], other: Float[Tensor, "... E"]) -> Float[Tensor, "... E"]:
    """Return `other` plus what a layer gives, in one operation where its weight is packed."""
    if isinstance(layer, Linear) and layer._multiplies_packed(input) and is_free(layer):
        return packed_sum(input, other, layer.weight, layer.bias)
    return other + layer(input)


class Multiplier:
    """A linear layer that many rows will go through, prepared once, and not trained.

    Args:
        weight: The weight.
        bias: The bias.
    """

    def __init__(self, weight: Float[Tensor, "E C"], bias: Float[Tensor, "E"] | None = None) -> None:
        self._packed = not torch.is_grad_enabled() and packs(weight)
        self._weight = pack_weight(weight) if self._packed else weight
        self._bias = bias

    def __call__(
        self,
        rows: Float[Tensor, "... C"],
        other: Float[Tensor, "... E"] | None = None,
        bias: Float[Tensor, "E"] | None = None,
    ) -> Float[Tensor, "... E"]:
        """Multiply each row by the weight, and add what may be given beside, and a bias in place of the own one."""
        bias = self._bias if bias is None else bias
        if not self._packed:
            out = product(rows, self._weight, bias)
            return out if other is None else out.add_(other)
        if other is None:
            return packed_product(rows, self._weight, bias)
        return packed_sum(rows, other, self._weight, bias)

    def activated(self, rows: Float[Tensor, "... C"], approximate: str) -> Float[Tensor, "... E"]:
        """Return the GELU of the result."""
        if self._packed:
            return _packed_gelu(rows, self._weight, self._bias, approximate)
        return functional.gelu(self(rows), approximate=approximate)


def product(
    rows: Float[Tensor, "... C"], weight: Float[Tensor, "E C"], bias: Float[Tensor, "E"] | None = None
) -> Float[Tensor, "... E"]:
    """Return `functional.linear`, by the faster of the ways that need no preparation."""
    if _by_convolution(rows, weight) and not torch.is_grad_enabled() and "convolution" in _faster():
        return _convolution_product(rows, weight, bias)
    return functional.linear(rows, weight, bias)


def _packable(weight: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()
        and not weight.is_mkldnn
        and weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and min(weight.shape) > 1
    )


def _by_convolution(rows: Tensor, weight: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()
        and rows.device.type == "cpu"
        and rows.dtype == weight.dtype == torch.float32
        and rows.numel() >= _FEWEST_ROWS * weight.shape[1]
        and not torch.is_autocast_enabled("cpu")
    )


def _convolution_product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # Rows become the pixels of an image whose channels lie innermost: nothing is copied.
    count = rows.numel() // rows.shape[-1]
    image = rows.reshape(1, count, 1, rows.shape[-1]).permute(0, 3, 1, 2)
    out = functional.conv2d(image, weight[:, :, None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(*rows.shape[:-1], weight.shape[0])


def packs(weight: Tensor) -> bool:
    """Return whether a product by a packed weight is possible, and faster here."""
    return _packable(weight) and "packed" in _faster()


def pack_weight(weight: Float[Tensor, "E C"]) -> Tensor:
    """Return a weight in oneDNN's own layout."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS_HINT)


def packed_product(
    rows: Float[Tensor, "... C"], packed: Tensor, bias: Float[Tensor, "E"] | None
) -> Float[Tensor, "... E"]:
    """Return rows times a packed weight, plus the bias."""
    return torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], "")


def _packed_gelu(rows: Tensor, packed: Tensor, bias: Tensor | None, approximate: str) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "gelu", [], approximate)


def packed_sum(
    rows: Float[Tensor, "... C"], other: Float[Tensor, "... E"], packed: Tensor, bias: Float[Tensor, "E"] | None
) -> Float[Tensor, "... E"]:
    """Return rows times a packed weight, plus the bias and what is given beside."""
    return torch.ops.mkldnn._linear_pointwise.binary(rows, other, packed, bias, "add")


@cache
def _faster() -> frozenset[str]:
    """Return the ways that beat MKL on this machine, or those that the environment variable asks for."""
    wanted = os.environ.get(_VARIABLE)
    if wanted is not None and wanted not in BACKENDS:
        raise ValueError(f"{_VARIABLE} ({wanted!r}) must be one of {list(BACKENDS)}")
    if wanted == "plain" or not torch.backends.mkldnn.is_available():
        return frozenset()
    ways = _ways()
    if wanted is not None:
        return frozenset({wanted} & set(ways))
    with torch.inference_mode():
        return frozenset(name for name, prepare in ways.items() if _gain(prepare, _MEASURED[name]) > _GAIN)


def _ways() -> dict[str, _Prepare]:
    ways: dict[str, _Prepare] = {
        "convolution": lambda weight, bias: lambda rows: _convolution_product(rows, weight, bias)
    }
    # PyTorch's own compiler emits these two; where a version has them no more, or otherwise, the rest remains.
    if hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):

        def packed(weight: Tensor, bias: Tensor) -> _Product:
            stored = pack_weight(weight)
            return lambda rows: packed_product(rows, stored, bias)

        ways["packed"] = packed
    return ways


def _gain(prepare: _Prepare, sizes: tuple[int, int, int]) -> float:
    """Return how many times as fast as MKL a way is; 0 where it does not work, or gives another result."""
    generator = torch.Generator().manual_seed(0)
    count, inner, columns = sizes
    rows, weight = (torch.randn(n, inner, generator=generator) for n in (count, columns))
    bias = torch.randn(columns, generator=generator)
    try:
        multiply = prepare(weight, bias)
        right = torch.allclose(multiply(rows), functional.linear(rows, weight, bias), rtol=1e-4, atol=1e-3)
    except (RuntimeError, TypeError):
        return 0.0
    if not right:
        return 0.0
    # Other work on the machine makes single runs slower; the fastest of each way tell.
    plain, other, settled = torch.inf, torch.inf, 0
    for _ in range(_MOST_PAIRS):
        before = plain, other
        plain = min(plain, _seconds(lambda: functional.linear(rows, weight, bias)))
        other = min(other, _seconds(lambda: multiply(rows)))
        faster = before[0] > _SETTLED_GAIN * plain or before[1] > _SETTLED_GAIN * other
        settled = 0 if faster else settled + 1
        if settled == _SETTLED_PAIRS:
            break
    return plain / other


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
