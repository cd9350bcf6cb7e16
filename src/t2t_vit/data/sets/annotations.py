"""Images that a file lists, with their labels: text, CSV or JSON lines.

K classes.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image

from t2t_vit.data.class_names import imagenet_classes
from t2t_vit.data.decode import Mode, decode
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.data.sets.labels import LabelNumbers, are_wnids, classes_of, number_or_name
from t2t_vit.data.sets.presence import first_missing
from t2t_vit.errors import DatasetError, nearest

_DELIMITERS: Final = {".csv": ",", ".tsv": "\t"}
_JSON_SUFFIXES: Final = (".jsonl", ".ndjson", ".json")
_KINDS: Final = {"image_column": "a path", "label_column": "the number or the name of a class"}


class _Line(NamedTuple):
    """What a line says, and where it stands."""

    number: int
    path: str
    label: int | str


class AnnotatedImages(ImageSet):
    """Images in a folder, listed in a file with a path, relative to the folder, and a label for each.

    The file's name tells what it is. ``.csv`` and ``.tsv``: a header, columns ``path`` and ``label``. ``.jsonl``: a
    line is ``{"path": …, "label": …}``. Any other: a line is a path, a space (or a tab) and a label; a label with
    spaces needs the tab. A label is the number of a class or its name.

    Args:
        file: The list, UTF-8.
        folder: Where the images are.
        classes: `imagenet`: the classes are ImageNet's, labels may be WordNet ids. `auto`: so if `num_classes` is 1000
            or None and every label is such an id. `folders`: they are what the file says.
        num_classes: Classes of the model, None if it takes what there is.
        known: The classes, where they are settled already (by a file, or those of the training images).
        path_column: What a table calls its paths.
        label_column: What it calls its labels.

    Raises:
        DatasetError: The file is missing or not as described, or an image is not there.
    """

    def __init__(
        self,
        file: str | Path,
        folder: str | Path,
        *,
        classes: str = "auto",
        num_classes: int | None = None,
        known: Sequence[str] | None = None,
        path_column: str = "path",
        label_column: str = "label",
    ) -> None:
        source = Path(file)
        self._root = str(folder)
        if not Path(folder).is_dir():
            raise DatasetError(
                f"no image folder {self._root!r} (looked for {Path(folder).absolute()}), which the paths in {source} "
                "are relative to; name another with --cfg-options data.root=FOLDER data.train=NAME data.val=NAME"
            )
        suffix = source.suffix.lower()
        if suffix in _DELIMITERS:
            lines = list(_table(source, _DELIMITERS[suffix], path_column, label_column))
        elif suffix in _JSON_SUFFIXES:
            lines = list(_json_lines(source, path_column, label_column))
        else:
            lines = list(_text(source))
        if not lines:
            raise DatasetError(f"{source} lists no images; expected a path and a label a line")
        self._paths = [_below(line.path, self._root, source, line.number) for line in lines]
        as_text = suffix not in _JSON_SUFFIXES  # what is a number and what a name of digits, only JSON says
        self.classes, self.labels = _numbered(lines, str(source), as_text, classes, num_classes, known)
        self._refuse_missing(lines, source)

    def load(self, index: int, mode: Mode) -> Image.Image:
        """Return picture `index` in `mode`."""
        return decode(self.name(index), mode)

    def name(self, index: int) -> str:
        """Return the path of picture `index`."""
        return os.path.join(self._root, self._paths[index])  # noqa: PTH118 -- for a million of them, paths are slow

    def key(self, index: int) -> str:
        """Return the path of picture `index` in the folder."""
        return self._paths[index].replace(os.sep, "/")

    def _refuse_missing(self, lines: list[_Line], source: Path) -> None:
        count, missing = first_missing(map(self.name, range(len(lines))))
        if missing is None:
            return
        line = next(line for index, line in enumerate(lines) if self.name(index) == missing)
        folder, name = os.path.split(missing)
        there = os.listdir(folder)[:5000] if os.path.isdir(folder) else []  # noqa: PTH112, PTH208 -- as `missing`
        more = f", nor are {count - 1} others" if count > 1 else ""
        raise DatasetError(
            f"{source}, line {line.number}: {line.path!r} is not in {self._root!r}{more}; paths are relative to that "
            f"folder.{nearest(name, there)}"
        )


def _numbered(
    lines: list[_Line],
    source: str,
    as_text: bool,
    classes: str,
    num_classes: int | None,
    known: Sequence[str] | None,
) -> tuple[tuple[str, ...], list[int]]:
    """Return the classes, and the number of each line's label."""

    def where(index: int) -> str:
        return f"{source}, line {lines[index].number}"

    if classes == "imagenet" or (
        known is None and classes == "auto" and are_wnids((line.label for line in lines), num_classes)
    ):
        known = imagenet_classes()
    if known is None:
        written = [number_or_name(str(line.label)) if as_text else line.label for line in lines]
        known = classes_of(written, num_classes, where, source)
    numbers = LabelNumbers(known)
    number_of: dict[int | str, int] = {}  # each label once: there are a million lines, and a thousand classes
    for index, (_, _, label) in enumerate(lines):
        if label not in number_of:
            number_of[label] = numbers.of_text(str(label), where(index)) if as_text else numbers.of(label, where(index))
    return numbers.classes, [number_of[line.label] for line in lines]


def _read(source: Path) -> str:
    """Return the text in a file, with newlines at the ends of lines."""
    try:
        text = source.read_text(encoding="utf-8-sig")  # Windows editors begin a file with a byte order mark
    except (FileNotFoundError, NotADirectoryError):
        known = [entry.name for entry in source.parent.iterdir()] if source.parent.is_dir() else []
        raise DatasetError(
            f"there is no annotation file {source} (looked for {source.absolute()}).{nearest(source.name, known)}"
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DatasetError(f"{source}, line {line} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise DatasetError(f"{source} cannot be read: {error.strerror}") from None
    if not text.strip():
        raise DatasetError(f"{source} is empty; expected a path and a label a line")
    return text


def _text(source: Path) -> Iterator[_Line]:
    for number, line in enumerate(map(str.strip, _read(source).split("\n")), 1):
        if not line:
            continue
        path, *label = line.rsplit("\t" if "\t" in line else None, 1)
        if not label:
            raise DatasetError(
                f"{source}, line {number}: {_short(line)} has no label; expected a path, a space and a label"
            )
        yield _Line(number, path.strip(), label[0].strip())


def _table(source: Path, delimiter: str, path_column: str, label_column: str) -> Iterator[_Line]:
    rows = csv.reader(io.StringIO(_read(source), newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(rows)]
        for setting, column in (("image_column", path_column), ("label_column", label_column)):
            if header.count(column) != 1:
                raise DatasetError(
                    f"{source}, line 1: {header.count(column)} columns are called {column!r}; expected a header with "
                    f"one, and there are {', '.join(map(repr, header))}; name the right one in data.{setting}"
                )
        path, label = header.index(path_column), header.index(label_column)
        for row in rows:
            if not any(row):
                continue
            if len(row) <= max(path, label) or not row[path].strip() or not row[label].strip():
                raise DatasetError(
                    f"{source}, line {rows.line_num}: {_short(delimiter.join(row))} has no "
                    f"{path_column if len(row) <= path or not row[path].strip() else label_column}"
                )
            yield _Line(rows.line_num, row[path].strip(), row[label].strip())
    except csv.Error as error:
        raise DatasetError(f"{source}, line {rows.line_num}: {error}; expected rows of a table") from None


def _json_lines(source: Path, path_key: str, label_key: str) -> Iterator[_Line]:
    for number, line in enumerate(_read(source).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{source}, line {number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            raise DatasetError(
                f'{where}: {_short(line)} is no JSON; expected {{"{path_key}": "cat/1.jpg", "{label_key}": 0}} a line'
            ) from None
        if not isinstance(entry, dict):
            raise DatasetError(
                f'{where}: {_short(line)}; expected a JSON object such as {{"{path_key}": …}} on each line'
            )
        for setting, key, kinds in (("image_column", path_key, str), ("label_column", label_key, int | str)):
            if key not in entry:
                raise DatasetError(
                    f"{where}: there is no {key!r}, only {', '.join(map(repr, entry)) or 'nothing'}; name the right "
                    f"key in data.{setting}"
                )
            if not isinstance(entry[key], kinds) or isinstance(entry[key], bool) or entry[key] == "":
                raise DatasetError(f"{where}: {key!r} is {_short(json.dumps(entry[key]))}; expected {_KINDS[setting]}")
        yield _Line(number, entry[path_key], entry[label_key])


def _below(path: str, root: str, source: Path, line: int) -> str:
    """Return `path` relative to `root`, or say that it leads elsewhere."""
    if os.sep == "/" and path[0] not in "/." and not any(odd in path for odd in ("/.", "//", "\0")):
        return path  # as nearly all of a million are
    plain = os.path.normpath(path)
    if os.path.isabs(plain):  # noqa: PTH117 -- see `name`
        inside = os.path.abspath(root)  # noqa: PTH100 -- see `name`
        plain = os.path.relpath(plain, inside)
    if plain == ".." or plain.startswith(f"..{os.sep}") or "\0" in plain:
        raise DatasetError(
            f"{source}, line {line}: {_short(path)} is not in the folder {root!r}; expected paths relative to it, set "
            "by data.root and data.train or data.val"
        )
    return plain


def _short(text: str) -> str:
    """Return `text` quoted, and cut if it is long."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
