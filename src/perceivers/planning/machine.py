"""How long operations take on this machine: each kind is tried on a sample of the sizes that the model has."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional

from perceivers.nn.layers import LayerConfig, SelfAttention
from perceivers.planning.trace import Call, Cost, Tracer

# A sample has at most so many operations or bytes, so that all of them together take a second or two.
_SAMPLE_FLOPS = 2e9
_SAMPLE_BYTES = 64 * 2**20
_SMALLEST_SAMPLE_BYTES = 2**20
# The sizes that make up this share of the products are tried; the others are taken to be as fast on average.
_TRIED_SHARE = 0.98
_MOST_TRIED = 12
# A sample runs at least so often and so long (seconds), and is not begun again after so long.
_FEWEST_RUNS = 4
_SHORTEST_SAMPLE = 0.005
_LONGEST_SAMPLE = 0.15
# A side of a matrix is not cut below this: narrow products are slower.
_SMALLEST_SIDE = 512
# The keys and values of a sample; enough that they do not all stay in the nearest caches.
_SMALLEST_ATTENDED = 4096


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What was measured.

    Args:
        num_threads: Threads in use.
        dtype: Number format.
        flops_per_second: Of the matrix products of this plan, with the sizes that they have.
        bytes_per_second: Of the operations that only move bytes, reading and writing.
        seconds_per_operation: What each operation costs beyond its work.
    """

    num_threads: int
    dtype: str
    flops_per_second: float
    bytes_per_second: float
    seconds_per_operation: float


def estimate(costs: Mapping[str, Cost], dtype: torch.dtype) -> tuple[Machine, dict[str, float]]:
    """Return what this machine can do and how many seconds each stage will take on it."""
    calls: Counter[Call] = Counter()
    for cost in costs.values():
        calls.update(cost.calls)
    overhead = _seconds_per_operation(dtype)
    seconds = _products(calls, dtype) | _moves(calls, dtype)
    flops = sum(call.flops * count for call, count in calls.items())
    moved = sum(call.sizes[0] * count for call, count in calls.items() if not call.flops)
    flop_seconds = sum(seconds[call] * count for call, count in calls.items() if call.flops)
    move_seconds = sum(seconds[call] * count for call, count in calls.items() if not call.flops)
    machine = Machine(
        num_threads=torch.get_num_threads(),
        dtype=str(dtype).removeprefix("torch."),
        flops_per_second=flops / flop_seconds if flop_seconds else 0.0,
        bytes_per_second=moved / move_seconds if move_seconds else 0.0,
        seconds_per_operation=overhead,
    )
    return machine, {
        stage: overhead * cost.num_operations + sum(seconds[call] * count for call, count in cost.calls.items())
        for stage, cost in costs.items()
    }


def _products(calls: Counter[Call], dtype: torch.dtype) -> dict[Call, float]:
    """Return the seconds of each product; the largest are tried, the others take the average rate of their kind."""
    products = sorted((call for call in calls if call.flops), key=lambda call: -call.flops * calls[call])
    total = sum(call.flops * calls[call] for call in products)
    per_flop: dict[Call, float] = {}
    done = 0
    for call in products[:_MOST_TRIED]:
        if done >= _TRIED_SHARE * total:
            break
        per_flop[call] = (_try_attention if call.kind == "attention" else _try_matmul)(call.sizes, dtype)
        done += call.flops * calls[call]
    tried = sum(per_flop[call] * call.flops * calls[call] for call in per_flop)
    average = tried / done if done else 0.0
    return {call: per_flop.get(call, average) * call.flops for call in products}


def _try_matmul(sizes: tuple[int, ...], dtype: torch.dtype) -> float:
    """Return the seconds an operation of a product takes, on one like it that is cut down."""
    batch, *sides = sizes
    while 2 * batch * sides[0] * sides[1] * sides[2] > _SAMPLE_FLOPS:
        longest = max(range(3), key=lambda i: sides[i])
        if batch > 1:
            batch //= 2
        elif sides[longest] >= 2 * _SMALLEST_SIDE:
            sides[longest] //= 2
        else:
            break
    rows, inner, columns = sides
    a = torch.rand(batch, rows, inner).to(dtype)
    b = torch.rand(batch, columns, inner).to(dtype)
    seconds = _seconds((lambda: functional.linear(a[0], b[0])) if batch == 1 else (lambda: a @ b.mT))
    return seconds / (2 * batch * rows * inner * columns)


def _try_attention(sizes: tuple[int, ...], dtype: torch.dtype) -> float:
    """Return the seconds an operation of fused attention takes, likewise."""
    heads, queries, attended, width = sizes
    while 4 * heads * queries * attended * width > _SAMPLE_FLOPS:
        if attended >= 2 * _SMALLEST_ATTENDED:
            attended //= 2
        elif queries >= 2 * _SMALLEST_SIDE:
            queries //= 2
        elif heads > 1:
            heads //= 2
        else:
            break
    # Heads lie beside each other in the rows that the linear layers before give.
    q, k = (torch.rand(1, length, heads, width).to(dtype).transpose(1, 2) for length in (queries, attended))
    seconds = _seconds(lambda: functional.scaled_dot_product_attention(q, k, k))
    return seconds / (4 * heads * queries * attended * width)


# Operations that work more on each byte than a copy does; all others are tried as an addition.
_SLOWER: dict[str, Callable[[Tensor], Tensor]] = {
    "native_layer_norm": lambda x: functional.layer_norm(x, x.shape[-1:]),
    "gelu": lambda x: functional.gelu(x, approximate="tanh"),
    "_softmax": lambda x: x.softmax(dim=-1),
    "_safe_softmax": lambda x: x.softmax(dim=-1),
    "gelu_backward": lambda x: torch.ops.aten.gelu_backward(x, x, approximate="tanh"),
    "native_batch_norm": lambda x: functional.batch_norm(x[:, :, None], x[0], x[0].abs()),
}
_ROW_CHANNELS = 512


def _moves(calls: Counter[Call], dtype: torch.dtype) -> dict[Call, float]:
    """Return the seconds of each operation that only moves bytes, by the rate of its kind at its usual size."""
    kinds: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if not call.flops:
            kinds[call.kind if call.kind in _SLOWER else ""].append(call)
    seconds: dict[Call, float] = {}
    for kind, members in kinds.items():
        total = sum(call.sizes[0] * calls[call] for call in members)
        if not total:
            seconds.update(dict.fromkeys(members, 0.0))
            continue
        usual = sum(call.sizes[0] ** 2 * calls[call] for call in members) / total
        moved = min(max(usual, _SMALLEST_SAMPLE_BYTES), _SAMPLE_BYTES)
        per_byte = _try_move(_SLOWER.get(kind, lambda x: x + 1), int(moved), dtype)
        seconds.update({call: per_byte * call.sizes[0] for call in members})
    return seconds


def _try_move(operation: Callable[[Tensor], Tensor], moved: int, dtype: torch.dtype) -> float:
    rows = max(moved // (2 * _ROW_CHANNELS * dtype.itemsize), 1)  # read once and written once
    x = torch.rand(rows, _ROW_CHANNELS).to(dtype)
    return _seconds(lambda: operation(x)) / (2 * rows * _ROW_CHANNELS * dtype.itemsize)


def _seconds_per_operation(dtype: torch.dtype) -> float:
    """Return what an operation of a layer costs when there is next to nothing to compute."""
    layer = SelfAttention(LayerConfig(num_heads=1), channels=8).to(dtype)
    x = torch.rand(1, 1, 8).to(dtype)
    with torch.no_grad():
        with Tracer() as tracer:
            layer(x)
        return _seconds(lambda: layer(x)) / tracer.costs[""].num_operations


def _seconds(run: Callable[[], object]) -> float:
    """Return how long `run` takes: the middle of several times after the first, or the first when it is long."""
    times: list[float] = []
    with torch.no_grad():
        while len(times) < _FEWEST_RUNS or sum(times) < _SHORTEST_SAMPLE:
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
            if sum(times) > _LONGEST_SAMPLE:
                break
    return median(times[1:] or times)
