"""Tables of named things."""

import pytest

from perceivers.registry import Registry


def test_things_are_found_by_name_in_order() -> None:
    table: Registry[int] = Registry("number")
    table.add("two", 2)
    assert table.register("one")(1) == 1
    assert table["one"] == 1
    assert list(table) == ["one", "two"]
    assert len(table) == 2
    assert "one" in table
    assert "three" not in table


def test_unknown_names_list_the_choices() -> None:
    table: Registry[int] = Registry("number")
    table.add("one", 1)
    with pytest.raises(ValueError, match=r"number 'three' not found; choices = \['one'\]"):
        table["three"]


def test_a_name_is_given_once_but_may_be_redefined() -> None:
    """A notebook cell that is run again defines the same class anew."""

    def define() -> type:
        class Thing:
            pass

        return Thing

    table: Registry[type] = Registry("thing")
    first, again = define(), define()
    table.add("thing", first)
    table.add("thing", again)
    assert table["thing"] is again
    with pytest.raises(ValueError, match="thing 'thing' is already registered as <class"):
        table.add("thing", int)
