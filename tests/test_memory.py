"""Amounts of memory, and what a budget changes: the size of the chunks, never the answers."""

import pytest
import torch

import perceivers
from perceivers.memory import parse_memory
from perceivers.tasks import TASKS
from perceivers.tasks.pipeline import Pipeline
from perceivers.zoo import ZOO


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500MB", 500_000_000),
        ("1.5GiB", 1_610_612_736),
        (" 2 kib ", 2048),
        ("7", 7),
        (7, 7),
        ("3k", 3000),
        (".5TB", 5 * 10**11),
    ],
)
def test_amounts(text: str | int, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "MB", "5 apples", "-3MB", "1e3", "0GB", "0.1B"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"memory .* must be"):
        parse_memory(text)


def flow(memory: str | None) -> Pipeline:
    config = ZOO["optical-flow-small"].config
    model = perceivers.build("optical-flow-small", seed=0, overrides={"outputs.zero_init": False})
    return Pipeline(TASKS["optical-flow"].fit(config, None, {}), model, memory=memory)


def test_a_budget_makes_chunks_smaller_and_changes_no_answer() -> None:
    free, tight = flow(None), flow("400kB")
    assert tight.task.settings.chunk_size < free.task.settings.chunk_size
    assert flow("100GB").task.settings.chunk_size == free.task.settings.chunk_size
    frames = torch.randint(0, 256, (2, 96, 128, 3), dtype=torch.uint8).numpy()
    ours, theirs = (p(frames[0], frames[1]).flow for p in (tight, free))
    torch.testing.assert_close(torch.from_numpy(ours), torch.from_numpy(theirs), rtol=1e-4, atol=1e-4)


def test_a_budget_for_less_than_one_output_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"memory \(100 bytes\) must suffice for one output, which takes about \d+ bytes"
    ):
        flow("100")
