"""Tables of a TOML file read into dataclasses, strictly: what is unknown or of the wrong type is named."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from ..errors import InputError


def table(cls: type, values: Mapping[str, Any], name: str = "") -> Any:
    """A dataclass from a table of a TOML file; its fields that are dataclasses are tables within.

    Args:
        cls: the dataclass; its annotations say what each entry must be.
        values: what the file holds.
        name: of the table, for messages.

    Raises:
        InputError: an entry is unknown, missing or of the wrong type.
    """
    known = {f.name: f for f in fields(cls)}
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(known))
    where = f"[{name}]" if name else "it"
    if unknown:
        raise InputError(f"{where} does not know {', '.join(unknown)}. Its entries are: {', '.join(known)}.")
    missing = [n for n, f in known.items() if n not in values and f.default is f.default_factory is MISSING]
    if missing:
        raise InputError(f"{where} lacks {', '.join(missing)}.")
    return cls(**{key: _value(hints[key], value, f"{name}.{key}".lstrip(".")) for key, value in values.items()})


def _value(hint: Any, value: Any, name: str) -> Any:
    """`value` as the type that the entry has, or an error that names both."""
    if is_dataclass(hint):
        if isinstance(value, Mapping):
            return table(hint, value, name)
        raise InputError(f"{name} must be a table [{name}], not {value!r}.")
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)
        length = None if inner[-1] is Ellipsis else len(inner)
        if not isinstance(value, list | tuple) or length not in (None, len(value)):
            count = length or "any number of"
            raise InputError(f"{name} must be a list of {count} {inner[0].__name__}, not {value!r}.")
        return tuple(_value(inner[0], part, name) for part in value)
    if isinstance(hint, types.UnionType):
        return None if value is None else _value(typing.get_args(hint)[0], value, name)
    kind = typing.get_origin(hint) or hint
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        words = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Mapping: "a table"}
        raise InputError(f"{name} must be {words[kind]}, not {value!r}.")
    return value


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `InputError` unless `value` is among `choices`."""
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, not {value!r}.")


def at_least(name: str, value: float, least: float) -> None:
    """Raise `InputError` unless `value` is finite and not below `least`."""
    if not least <= value < float("inf"):
        raise InputError(f"{name} must be at least {least}, not {value:g}.")


def above(name: str, value: float, limit: float) -> None:
    """Raise `InputError` unless `value` is finite and above `limit`."""
    if not limit < value < float("inf"):
        raise InputError(f"{name} must be above {limit}, not {value:g}.")
