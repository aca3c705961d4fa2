"""Names to things: the table behind every `kind`, task, zoo entry and data source."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar, cast

Item = TypeVar("Item")
Same = TypeVar("Same")


class Registry(Generic[Item]):
    """A table of named things that register themselves where they are written.

    Args:
        noun: What the table holds, for error messages ("task", "model").
    """

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._items: dict[str, Item] = {}

    def add(self, name: str, item: Item) -> Item:
        """Enter `item` under `name`.

        Raises:
            ValueError: Something else already has that name.
        """
        known = self._items.get(name)
        # Reloading a notebook cell or a plugin file redefines the same class: that may replace itself.
        if known is not None and getattr(known, "__qualname__", known) != getattr(item, "__qualname__", item):
            raise ValueError(f"{self.noun} '{name}' is already registered as {known!r}")
        self._items[name] = item
        return item

    def register(self, name: str) -> Callable[[Same], Same]:
        """Return the decorator that enters the decorated thing under `name`, and leaves its type as it is."""

        def enter(item: Same) -> Same:
            self.add(name, cast(Item, item))
            return item

        return enter

    def __getitem__(self, name: str) -> Item:
        if name not in self._items:
            raise ValueError(f"{self.noun} '{name}' not found; choices = {sorted(self._items)}")
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._items))

    def __len__(self) -> int:
        return len(self._items)
