"""Frozen dataclasses to JSON and back, strictly: unknown, missing and mistyped fields are refused by name.

`Variant` is the root of configs that come in kinds (the input sides, the query sides, ...): a
subclass written with `kind="name"` enters itself into its root's table, and its JSON carries that
kind.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from perceivers.registry import Registry

ConfigT = TypeVar("ConfigT")
Json = dict[str, Any]


class Variant:
    """A config that comes in kinds. A direct subclass is a root and owns a table of kinds."""

    kind: ClassVar[str] = ""
    kinds: ClassVar[Registry[type]]

    def __init_subclass__(cls, *, kind: str | None = None) -> None:
        super().__init_subclass__()
        if Variant in cls.__bases__:
            cls.kinds = Registry(cls.__name__)
        elif kind is not None:
            cls.kind = kind
            cls.kinds.add(kind, cls)


def to_json(config: Any) -> Json:
    """Return the plain-JSON form of a (nested) config dataclass."""
    return typing.cast(Json, _encode(config))


def from_json(cls: type[ConfigT], data: Mapping[str, Any], where: str = "config") -> ConfigT:
    """Build a config of type `cls` from plain JSON.

    Raises:
        ValueError: A field is missing, unknown or of the wrong type; the message gives its path.
    """
    return typing.cast(ConfigT, _decode_dataclass(cls, data, where))


def override(config: ConfigT, changes: Mapping[str, Any], where: str = "config") -> ConfigT:
    """Return `config` with fields replaced by dotted path, e.g. `{"encoder.num_latents": 64}`.

    Args:
        config: The config.
        changes: Values by path.
        where: What it is, for the error message.

    Raises:
        ValueError: A path names no field, or a value does not fit it.
    """
    data = to_json(config)
    for path, value in changes.items():
        *parents, leaf = path.split(".")
        node = data
        for parent in parents:
            child = node.get(parent)
            if not isinstance(child, dict):
                raise ValueError(f"'{path}': '{parent}' is not a section; choices = {sorted(node)}")
            node = child
        if leaf not in node:
            raise ValueError(f"'{path}': no field '{leaf}'; choices = {sorted(node)}")
        node[leaf] = value
    return from_json(type(config), data, where)


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        body = {field.name: _encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"kind": value.kind, **body} if isinstance(value, Variant) else body
    if isinstance(value, tuple | list):
        return [_encode(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _encode(item) for key, item in value.items()}
    return value


def _decode_dataclass(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} must be an object, got {data!r}")
    data = dict(data)
    if issubclass(cls, Variant):
        kind = data.pop("kind", cls.kind)
        if kind not in cls.kinds:
            raise ValueError(f"{where}.kind '{kind}' not found; choices = {list(cls.kinds)}")
        cls = cls.kinds[kind]
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ValueError(f"{where} has unknown fields {unknown}; known fields = {sorted(fields)}")
    required = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - set(data))
    if missing:
        raise ValueError(f"{where} lacks fields {missing}")
    hints = typing.get_type_hints(cls)
    return cls(**{name: _decode(hints[name], value, f"{where}.{name}") for name, value in data.items()})


def _decode(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(args, value, where)
    if origin is typing.Literal:
        if value not in args:
            raise ValueError(f"{where} = {value!r} is not one of {list(args)}")
        return value
    if origin is tuple:
        return _decode_tuple(args, value, where)
    if origin in (dict, Mapping) or hint is dict:
        return _decode_mapping(args, value, where)
    if dataclasses.is_dataclass(hint):
        return _decode_dataclass(typing.cast(type, hint), value, where)
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{where} = {value!r} must be of type {hint.__name__}")
    return value


def _decode_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in args:
        return None
    choices = [arg for arg in args if arg is not type(None)]
    for choice in choices[:-1]:
        try:
            return _decode(choice, value, where)
        except ValueError:
            continue
    return _decode(choices[-1], value, where)


def _decode_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        count = "" if args[-1] is Ellipsis else f" of {len(args)}"
        raise ValueError(f"{where} = {value!r} must be a list{count}")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_decode(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(value) != len(args):
        raise ValueError(f"{where} = {value!r} must have {len(args)} entries")
    return tuple(_decode(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(args, value, strict=True)))


def _decode_mapping(args: tuple[Any, ...], value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} = {value!r} must be an object")
    item_hint = args[1] if args else Any
    return {str(key): _decode(item_hint, item, f"{where}.{key}") for key, item in value.items()}
