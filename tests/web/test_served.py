"""Turns of a model: one at a time, each within its time."""

import threading
import time

import pytest

import perceivers
from perceivers.tasks.pipeline import Pipeline
from perceivers.web import Served

TEXT = "that [MASK:2] the question"


@pytest.fixture
def pipe() -> Pipeline:
    return perceivers.pipeline(model="text-mini")


def test_a_turn_gives_the_answer_and_its_time(pipe: Pipeline) -> None:
    expected = pipe(TEXT)
    served = Served(pipe, 60.0)
    start = time.monotonic()
    timed = served.take(lambda pipe: pipe(TEXT))
    assert timed.answer == expected
    assert 0 < timed.seconds <= time.monotonic() - start
    assert served.name == "text-mini"
    assert served.card(0.0123) == (
        "**text-mini (in the package)** · 1.0 million parameters · answered in **12 ms** on cpu"
    )
    assert "**2.0 s**" in served.card(2.04)


def test_a_turn_that_takes_too_long_ends(pipe: Pipeline) -> None:
    """And the next one has its own time."""
    served = Served(pipe, 0.2)

    def slow(pipe: Pipeline) -> None:
        time.sleep(0.3)
        pipe(TEXT)

    with pytest.raises(ValueError, match=r"the answer took longer than 0\.2 s and was given up: ask for less"):
        served.take(slow)
    served.timeout = 60.0
    assert served.take(lambda pipe: pipe(TEXT)).answer


def test_every_model_that_ships_looks_at_the_clock() -> None:
    for spec in perceivers.models():
        if spec.bundled:
            pipe = perceivers.pipeline(model=spec.name)
            _, rows = pipe.task.example()
            served = Served(pipe, -1.0)
            batch = pipe.task.collate([next(iter(pipe.task.pieces(pipe.task.input_of(rows[0]))))])
            with pytest.raises(ValueError, match="took longer"):
                served.take(lambda pipe, batch=batch: pipe.model(batch))


def test_turns_do_not_overlap(pipe: Pipeline) -> None:
    served = Served(pipe, 60.0)
    inside: list[int] = []
    most: list[int] = []

    def work(_: Pipeline) -> None:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()

    threads = [threading.Thread(target=served.take, args=(work,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8
