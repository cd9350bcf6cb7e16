"""From labels as people write them, numbers or names of classes, to numbers and names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from t2t_vit.data.class_names import imagenet_classes, imagenet_wnids
from t2t_vit.errors import DatasetError, nearest

_NUMERAL: Final = re.compile(r"[+-]?[0-9]{1,18}")


class TextLabel(NamedTuple):
    """A label in plain text, where a number cannot be told from a name of digits."""

    text: str

    def plain(self) -> int | str:
        """Return the number that the text writes, or the text."""
        return number_or_name(self.text)


class LabelNumbers:
    """Gives the number of a class for a label that is written as this number or as the name of the class.

    Args:
        classes: Names of the K classes. Those of ImageNet can be told by their WordNet ids, too.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._number_of = {name: number for number, name in enumerate(self.classes)}
        self._twice = {name for name, count in Counter(self.classes).items() if count > 1}
        if self.classes == imagenet_classes():
            self._number_of |= {wnid: number for number, wnid in enumerate(imagenet_wnids())}

    def of(self, label: int | str | TextLabel, where: str) -> int:
        """Return the number of `label`, a number, a name or a text that may be either.

        Raises:
            DatasetError: There is no such class, or a text may mean two; `where` says where the label stands.
        """
        if isinstance(label, TextLabel):
            return self.of_text(label.text, where)
        if isinstance(label, int):
            if 0 <= label < len(self.classes):
                return label
            raise DatasetError(
                f"{where}: the label is {label}; expected 0 to {len(self.classes) - 1}, as there are "
                f"{len(self.classes)} classes"
            )
        if label in self._twice:
            raise DatasetError(
                f"{where}: the label is {label!r}, which {self.classes.count(label)} classes are called; give its "
                "number, or its WordNet id if it is ImageNet's"
            )
        number = self._number_of.get(label)
        if number is None:
            raise DatasetError(
                f"{where}: the label is {label!r}, which is none of the {len(self.classes)} classes."
                f"{nearest(label, self._number_of)}"
            )
        return number

    def of_text(self, text: str, where: str) -> int:
        """Return the number of the label in `text`, where a number cannot be told from a name of digits.

        Raises:
            DatasetError: There is no such class, or `text` may mean two.
        """
        label = number_or_name(text)
        number = self.of(text if text in self._number_of else label, where)
        if isinstance(label, int) and label != number:
            raise DatasetError(
                f"{where}: the label {text} may be class number {text} or the class called {text!r}, which is number "
                f'{number}; write JSON: {{"label": {label}}} is a number, {{"label": "{text}"}} a name'
            )
        return number


def number_or_name(text: str) -> int | str:
    """Return the number that `text` writes, or `text` itself."""
    return int(text) if _NUMERAL.fullmatch(text) else text


def are_wnids(labels: Iterable[int | str], num_classes: int | None) -> bool:
    """Whether all `labels` are ImageNet's ids, and a model of `num_classes` (None: of any number) has its classes."""
    wnids = imagenet_wnids()
    return num_classes in (None, len(wnids)) and set(labels) <= set(wnids)


def classes_of(
    labels: Sequence[int | str], num_classes: int | None, where: Callable[[int], str], source: str
) -> tuple[str, ...]:
    """Return the classes of training images whose `labels` alone are known.

    Names are sorted. Numbers are called what they are; there are `num_classes` of them, or as many as there are labels.

    Args:
        labels: All numbers or all names.
        num_classes: Classes of the model, None if it takes what there is.
        where: Says where a label stands, for a message.
        source: Says where all of them stand.

    Raises:
        DatasetError: Some are numbers and others names, one is negative, or a number below the highest is missing.
    """
    if not labels:
        raise DatasetError(f"{source} has no images; expected a path and a label a line")
    kind = type(labels[0])
    for index, label in enumerate(labels):
        if type(label) is not kind:
            raise DatasetError(
                f"{where(index)}: the label is {label!r}, and that of the first image is {labels[0]!r}; expected "
                "numbers or names of classes, not both"
            )
    found = set(labels)
    names = [label for label in found if isinstance(label, str)]
    if names:
        return tuple(sorted(names))
    numbers = [label for label in found if isinstance(label, int)]
    if min(numbers) < 0:
        index = next(index for index, label in enumerate(labels) if int(label) < 0)
        raise DatasetError(f"{where(index)}: the label is {labels[index]}; expected numbers from 0")
    if num_classes is not None:
        return tuple(str(number) for number in range(num_classes))
    count = len(numbers)
    if max(numbers) != count - 1:
        gap = next(number for number in range(count) if number not in found)
        raise DatasetError(
            f"{source}: no image has the label {gap}, and the highest is {max(numbers)}; labels are numbers from 0: "
            "name all classes in a file of data.classes_file, or give model.num_classes"
        )
    return tuple(str(number) for number in range(count))
