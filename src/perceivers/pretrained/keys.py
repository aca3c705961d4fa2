"""Key tables: one list of rows says which tensor of a foreign checkpoint is which of ours, both ways."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


@dataclass(frozen=True)
class Layout:
    """How a foreign tensor is laid out, as a pair of inverse functions.

    Args:
        read: Foreign layout to ours.
        write: Ours to the foreign layout.
    """

    read: Callable[[Tensor], Tensor]
    write: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Row:
    """One line of a key table.

    Args:
        ours: Name in our state dict.
        theirs: Name in the foreign checkpoint.
        layout: How theirs is laid out.
    """

    ours: str
    theirs: str
    layout: Layout


def check_names(expected: Sequence[str], found: Sequence[str], source: str) -> None:
    """Refuse a checkpoint whose names differ from what the model needs.

    Raises:
        ValueError: Names are missing or left over; all are listed.
    """
    missing = sorted(set(expected) - set(found))
    left_over = sorted(set(found) - set(expected))
    if missing or left_over:
        raise ValueError(
            f"{source} does not fit the model: {len(missing)} missing {missing}, {len(left_over)} left over {left_over}"
        )


def check_shapes(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], source: str) -> None:
    """Refuse tensors of another shape than the model's.

    Raises:
        ValueError: Lists each name with both shapes.
    """
    wrong = [
        f"{name}: {tuple(found[name].shape)}, the model has {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if found[name].shape != tensor.shape
    ]
    if wrong:
        raise ValueError(f"{source} does not fit the model: {'; '.join(wrong)}")


def read_with(rows: Sequence[Row], theirs: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return a foreign checkpoint under our names and in our layout.

    Raises:
        ValueError: Names are missing or left over.
    """
    check_names([row.theirs for row in rows], list(theirs), source)
    return {row.ours: row.layout.read(theirs[row.theirs]).contiguous() for row in rows}


def write_with(rows: Sequence[Row], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our tensors under the foreign names and in the foreign layout."""
    return {row.theirs: row.layout.write(ours[row.ours]).contiguous() for row in rows}


SAME = Layout(read=lambda x: x, write=lambda x: x)
ROW = Layout(read=lambda x: x[0], write=lambda x: x[None])
TRANSPOSED = Layout(read=lambda x: x.T, write=lambda x: x.T)
# Height, width, in, out -> out, in, height, width.
CONVOLUTION = Layout(read=lambda x: x.permute(3, 2, 0, 1), write=lambda x: x.permute(2, 3, 1, 0))
CONVOLUTION_1X1 = Layout(read=lambda x: x[0, 0].T, write=lambda x: x.T[None, None])
CHANNELS_LAST = Layout(read=lambda x: x.flatten(), write=lambda x: x[None, None, None])
COUNTER = Layout(read=lambda x: x.to(torch.long), write=lambda x: x.to(torch.int32))
