"""Configs to JSON and back: strict, and errors that say where."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from perceivers.config import Variant, from_json, override, to_json


@dataclass(frozen=True, kw_only=True)
class Shape(Variant):
    """A root."""


@dataclass(frozen=True, kw_only=True)
class Circle(Shape, kind="circle"):
    radius: float


@dataclass(frozen=True, kw_only=True)
class Box(Shape, kind="box"):
    sides: tuple[int, int] = (1, 2)


@dataclass(frozen=True, kw_only=True)
class Drawing:
    shape: Shape
    parts: tuple[Shape, ...] = ()
    named: Mapping[str, Shape] = field(default_factory=dict)
    mode: Literal["fill", "line"] = "fill"
    width: int | None = None
    title: str = ""
    visible: bool = True
    limit: int | tuple[int, ...] = 3
    extra: Any = None


FULL = Drawing(
    shape=Circle(radius=2.0),
    parts=(Box(), Circle(radius=0.5)),
    named={"a": Box(sides=(3, 4))},
    mode="line",
    width=3,
    title="x",
    visible=False,
    limit=(1, 2),
    extra=[1, "two"],
)


@pytest.mark.parametrize("config", [FULL, Drawing(shape=Box())], ids=["full", "defaults"])
def test_round_trip_through_text(config: Drawing) -> None:
    assert from_json(Drawing, json.loads(json.dumps(to_json(config)))) == config


def test_kinds_are_written() -> None:
    assert to_json(FULL)["shape"] == {"kind": "circle", "radius": 2.0}
    assert list(Shape.kinds) == ["box", "circle"]
    assert (Circle.kind, Shape.kind) == ("circle", "")


def test_whole_numbers_serve_as_floats() -> None:
    config = from_json(Drawing, {"shape": {"kind": "circle", "radius": 2}})
    assert config == Drawing(shape=Circle(radius=2.0))
    assert isinstance(to_json(config)["shape"]["radius"], float)


BOX = {"kind": "box"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, r"config lacks fields \['shape'\]"),
        ({"shape": BOX, "color": 1}, r"config has unknown fields \['color'\]; known fields = \['extra', 'limit'"),
        ({"shape": {"kind": "star"}}, r"config\.shape\.kind 'star' not found; choices = \['box', 'circle'\]"),
        ({"shape": {}}, r"config\.shape\.kind '' not found; choices"),
        ({"shape": {"kind": "circle"}}, r"config\.shape lacks fields \['radius'\]"),
        ({"shape": {"kind": "circle", "radius": "2"}}, r"config\.shape\.radius = '2' must be of type float"),
        ({"shape": {"kind": "circle", "radius": True}}, r"config\.shape\.radius = True must be of type float"),
        ({"shape": {"kind": "box", "sides": [1]}}, r"config\.shape\.sides = \[1\] must have 2 entries"),
        ({"shape": {"kind": "box", "sides": 1}}, r"config\.shape\.sides = 1 must be a list"),
        ({"shape": 3}, r"config\.shape must be an object, got 3"),
        ({"shape": BOX, "parts": [BOX, 4]}, r"config\.parts\[1\] must be an object, got 4"),
        ({"shape": BOX, "named": {"a": 4}}, r"config\.named\.a must be an object, got 4"),
        ({"shape": BOX, "named": [BOX]}, r"config\.named = .* must be an object"),
        ({"shape": BOX, "mode": "dots"}, r"config\.mode = 'dots' is not one of \['fill', 'line'\]"),
        ({"shape": BOX, "width": 1.5}, r"config\.width = 1\.5 must be of type int"),
        ({"shape": BOX, "width": True}, r"config\.width = True must be of type int"),
        ({"shape": BOX, "visible": 1}, r"config\.visible = 1 must be of type bool"),
        ({"shape": BOX, "limit": "3"}, r"config\.limit = '3' must be a list"),
    ],
)
def test_wrong_data_is_refused_by_path(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(Drawing, data)


def test_override_changes_by_path() -> None:
    assert override(FULL, {"shape.radius": 5, "width": None}) == from_json(
        Drawing, {**to_json(FULL), "shape": {"kind": "circle", "radius": 5.0}, "width": None}
    )
    assert FULL.width == 3, "the config itself stays as it is"
    with pytest.raises(ValueError, match=r"'shape\.size': no field 'size'; choices = \['kind', 'radius'\]"):
        override(FULL, {"shape.size": 1})
    with pytest.raises(ValueError, match=r"'shap\.radius': 'shap' is not a section; choices ="):
        override(FULL, {"shap.radius": 1})
    with pytest.raises(ValueError, match=r"'width\.x': 'width' is not a section"):
        override(FULL, {"width.x": 1})
    with pytest.raises(ValueError, match=r"config\.shape\.radius = 'x' must be of type float"):
        override(FULL, {"shape.radius": "x"})


def test_two_kinds_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="Shape 'box' is already registered"):

        @dataclass(frozen=True, kw_only=True)
        class Crate(Shape, kind="box"):
            pass
