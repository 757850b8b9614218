"""From a preset or a YAML file, and ``--set a.b=c`` overrides, to one validated configuration."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from engine.errors import ConfigurationError

Config = TypeVar("Config", bound=BaseModel)


def preset_names() -> list[str]:
    """Names of the configurations that come with the package."""
    return sorted(_presets(resources.files("engine") / "presets"))


def _presets(folder: Traversable, prefix: str = "") -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _presets(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield prefix + entry.name.removesuffix(".yaml")


PURPOSES = {
    "a scale for engine reproduce": {"experiments"},
    "a recipe for engine learn-labels": {"inner", "outer", "held_out"},
    "a plan for engine sweep-students": {"grids", "ipc", "labels", "seeds", "student", "by_ipc"},
    "a recipe for engine train-expert": {"model", "lr", "optimiser", "schedule", "augmentation"},
}
"""What a configuration is for, told by the first of these whose keys it has any of."""


INT, FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"


class _Yaml(yaml.SafeLoader):
    """YAML whose numbers are decimal, as they are typed.

    PyYAML's own are those of YAML 1.1: there 010 is eight, 1:30 ninety, 1_3 thirteen, and 1e-2 a
    text.
    """


_Yaml.yaml_implicit_resolvers = {
    first: [(tag, found) for tag, found in resolvers if tag not in (INT, FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml.add_implicit_resolver(INT, re.compile(r"[-+]?[0-9]+$"), list("-+0123456789"))
_Yaml.add_implicit_resolver(
    FLOAT,
    re.compile(
        r"([-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?|[-+]?\.inf|\.nan)$", re.IGNORECASE
    ),
    list("-+.0123456789"),
)
_Yaml.add_constructor(INT, lambda _loader, node: int(node.value))


def load_configuration(
    kind: type[Config], source: str | Path | None, overrides: Mapping[str, Any] | None = None
) -> Config:
    """Read and validate a configuration.

    Args:
        kind: the pydantic model to fill; what is not named keeps its default.
        source: a preset's name, a YAML file, or None for the model's defaults.
        overrides: dotted keys to values; text values are read as YAML.

    Raises:
        ConfigurationError: unknown preset, unreadable file, unknown key (the nearest is named) or
            a value that does not fit.
    """
    where = "the configuration" if source is None else str(source)
    return _validated(kind, {} if source is None else _read(source), overrides, where)


def load_configurations(
    kind: type[Config],
    source: str | Path | None,
    overrides: Mapping[str, Any] | None = None,
    *,
    blocks: str,
) -> list[Config]:
    """Read a configuration that may be a list of blocks, such as ``grids:`` of a sweep.

    Args:
        kind, source, overrides: as in :func:`load_configuration`; overrides hold for every block.
        blocks: the key of the list. What stands beside it is shared by all blocks, and each block
            says what it changes. Without that key the whole is the only block.

    Raises:
        ConfigurationError: as :func:`load_configuration`, naming the block.
    """
    shared = {} if source is None else _read(source)
    where = "the configuration" if source is None else str(source)
    if blocks not in shared:
        return [_validated(kind, shared, overrides, where)]
    changes = shared.pop(blocks)
    if (
        not isinstance(changes, list)
        or not changes
        or not all(isinstance(c, dict) for c in changes)
    ):
        raise ConfigurationError(f"{where}: {blocks} must be a list of blocks of keys and values")
    return [
        _validated(kind, _merged(shared, change), overrides, f"{blocks}[{number}] of {where}")
        for number, change in enumerate(changes)
    ]


def _validated(
    kind: type[Config],
    values: dict[str, Any],
    overrides: Mapping[str, Any] | None,
    where: str,
) -> Config:
    given, values = values, _merged(_defaults(kind, values), values)
    for key, value in (overrides or {}).items():
        values = _merged(values, _nested(key, _parse(key, value)))
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        found, expected = _purpose(given), _purpose(kind.model_fields)
        mostly_unknown = 2 * len(given.keys() - kind.model_fields.keys()) > len(given)
        if found and expected and found != expected and mostly_unknown:
            raise ConfigurationError(f"{where} is {found}, expected {expected}") from error
        raise ConfigurationError(_explain(kind, error, where)) from error


def _defaults(kind: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """A kind's defaults, less those mappings by number, such as by IPC, that others replace."""
    return {
        key: value
        for key, value in kind().model_dump().items()
        if not (isinstance(given.get(key), dict) and any(str(k).isdecimal() for k in given[key]))
    }


def _purpose(keys: Iterable[str]) -> str | None:
    names = set(keys)
    return next((purpose for purpose, telling in PURPOSES.items() if names & telling), None)


def _parse(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return yaml.load(value, _Yaml)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"--set {key}={value}: the value is no YAML ({error})") from error


def _read(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    if path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} can't be read: {error}") from error
    elif str(source) in preset_names():
        text = (resources.files("engine") / "presets" / f"{source}.yaml").read_text("utf-8")
    else:
        near = difflib.get_close_matches(str(source), preset_names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"presets: {', '.join(preset_names())}."
        raise ConfigurationError(f"no file and no preset called {source}; {hint}")
    try:
        values = yaml.load(text, _Yaml)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{source} is no YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigurationError(
            f"{source}: expected keys and values, found {type(values).__name__}"
        )
    return values


def _nested(dotted: str, value: Any) -> dict[str, Any]:
    for key in reversed(dotted.split(".")):
        value = {int(key) if key.isdecimal() else key: value}
    return dict(value)


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """``new`` over ``old``, key by key, so that naming one key leaves its siblings as they were.

    A group of another ``kind`` (adamw instead of sgd) starts from that kind's own defaults. A key
    that is a number is the same in quotes.
    """
    merged = dict(old)
    spelt = {str(key): key for key in old}
    for new_key, value in new.items():
        key = spelt.get(str(new_key), new_key)
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            another_kind = value.get("kind", before.get("kind")) != before.get("kind")
            merged[key] = value if another_kind else _merged(before, value)
        else:
            merged[key] = value
    return merged


def _explain(kind: type[BaseModel], error: ValidationError, where: str) -> str:
    lines = []
    unknown: dict[str, list[str]] = {}  # by the keys that are known in their place
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        if problem["type"] == "extra_forbidden":
            known = _known_keys(kind, path[:-1])
            near = difflib.get_close_matches(path[-1], known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            unknown.setdefault(hint, []).append(".".join(path))
        else:
            found = "" if problem["type"] == "missing" else f", found {problem['input']!r}"
            place = ".".join(path) or "the whole"
            lines.append(f"{place}: {problem['msg']}{found}")
    for hint, keys in unknown.items():
        lines.append(f"unknown key{'s' * (len(keys) > 1)} {', '.join(keys)}; {hint}")
    return f"{where} does not fit: " + "; ".join(lines)


def _known_keys(kind: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        if part.lstrip("-").isdigit():  # the position in a list or the key of a group
            continue
        field = kind.model_fields.get(part)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return []
        kind = inner
    return list(kind.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The configuration that a field holds: alone, in a list, by number or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)
