"""Which class a WebDataset sample is of, and what the classes are called.

In:  the members `cls`, `cls.txt`, `label`, `label.txt`, `json` or `txt` of a sample, and a list of
     names beside the shards. Out: class names in order, and the label of everything that is said.
`.cls` and a number in JSON are class numbers. A text is a name of the list, else a number. Without
a list, the texts of train are numbers if most of them are, else names, sorted as class folders are.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beton_builder.errors import BadSource
from beton_builder.sources.labelled_files import lines_of
from beton_builder.sources.samples import Fingerprint

CLASS_EXTENSIONS = ("cls", "cls.txt", "label", "label.txt", "json", "txt")
LABEL_FIELDS = ("label", "cls", "class", "class_name", "target", "fine_label", "labels")
LIST_NAMES = ("classes.txt", "classnames.txt", "dataset_info.json", "manifest.json")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_LONGEST_NAME = 200
_MOST_CLASSES = 1 << 20  # a larger number is damage, whose class would be out of range
_MANY_TEXTS = 100  # from here on, texts that hardly repeat are no classes

Said = int | str


class Unusable(Exception):
    """A sample that cannot be used; the message completes "sample NAME …"."""


def said_by(extension: str, content: bytes) -> Said | None:
    """The class that a member states: a number, a text, or None for JSON without a label field.

    Raises Unusable.
    """
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise Unusable(f"has a .{extension} that is no text: {error}") from error
    if extension == "json":
        return _said_by_json(text)
    if extension == "cls":
        if not _NUMBER.fullmatch(text):
            raise Unusable(f"has class {_short(text)} in its .cls, expected a whole number")
        return int(text)
    return _named(extension, text)


def _said_by_json(text: str) -> Said | None:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"has a .json that cannot be parsed: {error}") from error
    fields = content if isinstance(content, dict) else {}
    field = next((name for name in LABEL_FIELDS if fields.get(name) is not None), None)
    if field is None:
        return None
    value = fields[field]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 62:
        return value
    if isinstance(value, str):
        return _named("json", value.strip())
    raise Unusable(
        f"has {_short(value)} as {field!r} of its .json, expected a class number or name"
    )


def _named(extension: str, text: str) -> str:
    if not text or len(text) > _LONGEST_NAME or "\n" in text:
        raise Unusable(f"has {_short(text)} in its .{extension}, expected a class number or name")
    return text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


@dataclass(frozen=True)
class Classes:
    """The class names of a dataset in label order, and the label of what a sample says.

    index: the label of a text; empty where texts are numbers. place: of the names, for messages.
    numbers: whether a number is understood.
    """

    names: tuple[str, ...]
    index: Mapping[str, int]
    place: str
    numbers: bool = True

    def label_of(self, said: Said) -> int:
        """The label, which may be out of range. Raises Unusable."""
        if isinstance(said, str):
            if said in self.index:
                return self.index[said]
            if not self.numbers or not _NUMBER.fullmatch(said):
                expected = f"one of {self.place}" if self.index else "a whole number"
                raise Unusable(f"has class {_short(said)}, expected {expected}")
        elif not self.numbers:
            raise Unusable(f"has class number {said}, expected one of {self.place}")
        return int(said)


def classes_of_list(path: Path, names: Sequence[str], saids: Mapping[Said, int]) -> Classes:
    """The classes that a list beside the shards names; saids: what train's samples say.

    Raises BadSource where a name that samples use stands there twice.
    """
    repeated = {name for name, count in Counter(names).items() if count > 1}
    ambiguous = sorted(repeated & {said for said in saids if isinstance(said, str)})
    if ambiguous:
        raise BadSource(f"{path} names two classes {ambiguous[0]!r}, and samples say just that")
    index = {name: label for label, name in enumerate(names)}
    return Classes(tuple(names), index, f"the {len(names):,} names in {path}")


def classes_of_train(saids: Mapping[Said, int]) -> Classes:
    """The classes where no list names them; saids: what train's samples say, and how often.

    Raises BadSource for texts that hardly repeat.
    """
    texts = {said: count for said, count in saids.items() if isinstance(said, str)}
    total = sum(saids.values())
    named = sum(count for text, count in texts.items() if not _NUMBER.fullmatch(text))
    if 2 * named <= total:
        numbers = [int(said) for said in saids if isinstance(said, int) or _NUMBER.fullmatch(said)]
        largest = max((number for number in numbers if number < _MOST_CLASSES), default=0)
        return Classes(tuple(str(label) for label in range(largest + 1)), {}, "")
    if len(texts) > _MANY_TEXTS and 2 * len(texts) > total:
        raise BadSource(
            f"{total:,} train samples say {len(texts):,} different texts, such as "
            f"{_short(next(iter(texts)))}: expected classes, and these read like captions. If they "
            "are classes, list them in classes.txt beside the shards, one a line"
        )
    names = tuple(sorted(texts))
    index = {name: label for label, name in enumerate(names)}
    return Classes(names, index, f"the {len(names):,} names that train has", numbers=False)


def find_class_list(
    places: Sequence[Path], fingerprint: Fingerprint
) -> tuple[Path, list[str]] | None:
    """The first file of LIST_NAMES in `places` that has class names, and these. Raises BadSource.

    JSON is Hugging Face's dataset_info, or the manifest of an exported distilled set.
    """
    for path in (place / name for place in places for name in LIST_NAMES):
        if path.is_file():
            lines = list(lines_of(path, fingerprint))
            names = _names_in_json(path) if path.suffix == ".json" else _names_in_lines(path, lines)
            if names:
                return path, names
    return None


def _names_in_lines(path: Path, lines: Sequence[tuple[str, str]]) -> list[str]:
    for number, (place, _) in enumerate(lines, 1):
        if place != f"line {number}":
            raise BadSource(
                f"{path}, line {number}: expected the name of class {number - 1}, found a blank "
                "line; line i + 1 names class i"
            )
    if not lines:
        raise BadSource(f"{path} lists no class names")
    return [line.strip() for _, line in lines]


def _names_in_json(path: Path) -> list[str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadSource(f"{path} cannot be parsed: {error}") from error
    if isinstance(content, dict) and content.get("kind") == "distilled":
        dataset = content.get("dataset")
        classes = dataset.get("classes") if isinstance(dataset, dict) else None
        return [str(name) for name in classes] if isinstance(classes, list) else []
    features = dict(_class_labels(content, ""))
    usual = [names for name, names in features.items() if name in LABEL_FIELDS]
    chosen = usual or list(features.values())
    return [str(name) for name in chosen[0]] if chosen else []


def _class_labels(content: Any, name: str) -> Iterator[tuple[str, list[Any]]]:
    """Every feature of classes: its name, and theirs."""
    if isinstance(content, dict):
        names = content.get("names")
        if content.get("_type") == "ClassLabel" and isinstance(names, list):
            yield name, names
        for key, value in content.items():
            yield from _class_labels(value, key)
