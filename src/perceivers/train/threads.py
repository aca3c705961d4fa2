"""How many CPU threads compute."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def compute_threads(count: int | None) -> Iterator[None]:
    """Compute on `count` threads, and leave PyTorch's setting as it was; `None` changes nothing.

    The threads of small operations mostly wait for one another, and where other work shares the cores they
    wait far longer than they compute: one thread is then the fastest.
    """
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
