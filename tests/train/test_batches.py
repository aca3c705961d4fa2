import numpy as np
import pytest

from perceivers.train.batches import EndlessBatches, Order


def batches(order: Order, start: int, count: int) -> list[list[int]]:
    return list(EndlessBatches(order, start, count))


def flat(lists: list[list[int]]) -> list[int]:
    return [index for part in lists for index in part]


def test_an_epoch_visits_each_example_once() -> None:
    order = Order(num_examples=12, batch_size=4, seed=3)
    first, second = (flat(batches(order, start, 3)) for start in (0, 3))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert first != sorted(first)


def test_the_rest_of_an_epoch_is_left_out() -> None:
    order = Order(num_examples=14, batch_size=4, seed=0)
    assert order.batches_per_epoch == 3
    seen = flat(batches(order, 0, 3))
    assert len(set(seen)) == 12
    # Which examples are left out changes from pass to pass.
    assert set(seen) != set(flat(batches(order, 3, 3)))


def test_starting_later_equals_skipping() -> None:
    order = Order(num_examples=10, batch_size=3, seed=1)
    whole = batches(order, 0, 11)
    for start in (1, 3, 5, 10):
        assert batches(order, start, 11 - start) == whole[start:]
    assert batches(order, 4, 0) == []
    assert len(EndlessBatches(order, 4, 7)) == 7


def test_processes_partition_each_batch() -> None:
    alone = batches(Order(num_examples=20, batch_size=6, seed=5), 0, 7)
    shares = [batches(Order(num_examples=20, batch_size=6, seed=5, rank=i, world_size=3), 0, 7) for i in range(3)]
    for batch, *parts in zip(alone, *shares, strict=True):
        assert [len(part) for part in parts] == [2, 2, 2]
        assert sorted(flat(parts)) == sorted(batch)


def test_fewer_examples_than_a_batch_are_all_taken() -> None:
    order = Order(num_examples=3, batch_size=8, seed=0)
    assert [sorted(batch) for batch in batches(order, 0, 2)] == [[0, 1, 2], [0, 1, 2]]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    state = np.random.get_state()[1]
    a, b = (Order(num_examples=50, batch_size=5, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(a.epoch(4), Order(num_examples=50, batch_size=10, seed=0).epoch(4))
    assert list(a.epoch(4)) != list(b.epoch(4))
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_impossible_orders_are_refused() -> None:
    with pytest.raises(ValueError, match="training split is empty"):
        Order(num_examples=0, batch_size=1, seed=0)
    with pytest.raises(ValueError, match="5 examples cannot be shared by 2 processes"):
        Order(num_examples=9, batch_size=5, seed=0, world_size=2)
