"""The part of Python that configs are written in, computed from its syntax tree; nothing is executed."""

from __future__ import annotations

import ast
import copy
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from t2t_vit.config.mmpretrain.merge import merge

_OPERATORS: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: Final[dict[type[ast.unaryop], Callable[[Any], Any]]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_COMPARISONS: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    f.__name__: f
    for f in (abs, bool, dict, float, int, len, list, max, min, range, reversed, round, sorted, str, sum, tuple, zip)
}
#: What changes or copies a value that the config made.
_METHODS: Final[dict[type, tuple[str, ...]]] = {
    dict: ("copy", "get", "items", "keys", "merge", "pop", "setdefault", "update", "values"),
    list: ("append", "copy", "extend", "index", "insert", "pop", "remove"),
    str: ("endswith", "lower", "split", "startswith", "upper"),
}

#: A config is small; one that computes more than this is none. A step is an expression, or this many values in one.
_MAX_STEPS = 200_000
_VALUES_A_STEP = 16
_MAX_LENGTH = 100_000
_MAX_BITS = 4096
_MAX_DIGITS = 1000

_BASE_TEMPLATE = re.compile(r"\{\{\s*(_base_(?:\.\w+)+)\s*\}\}")


class NeedsExecutionError(Exception):
    """What is written here cannot be computed without running Python.

    Args:
        reason: What it is.
        line: Where.
    """

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


class Budget:
    """What a config with all its bases may take."""

    def __init__(self) -> None:
        self._left = _MAX_STEPS

    def spend(self, steps: int, line: int) -> None:
        """Take `steps` of it.

        Raises:
            NeedsExecutionError: There are not as many left.
        """
        self._left -= steps
        if self._left < 0:
            raise NeedsExecutionError("it computes too much for a config", line)

    def spend_on(self, value: Any, line: int) -> None:
        """Take what it costs to go through `value`, where what stands at two places counts twice.

        Raises:
            NeedsExecutionError: There is not as much left, or `value` is in itself.
        """
        waiting, num_values = [value], 0
        while waiting:
            item = waiting.pop()
            if isinstance(item, dict):
                waiting += item.values()
            elif isinstance(item, list | tuple):
                waiting += item
            num_values += 1 + (len(item) // 64 if isinstance(item, str) else 0)
            if num_values > self._left * _VALUES_A_STEP:
                raise NeedsExecutionError("it computes too much for a config, or a value of it is in itself", line)
        self.spend(num_values // _VALUES_A_STEP, line)


class Evaluator:
    """Computes expressions over the names bound so far.

    Args:
        names: The names.
        budget: What it may take.

    Attributes:
        read: The names that an expression asked for.
        imported: The names that stand for classes.
    """

    def __init__(self, names: dict[str, Any], budget: Budget) -> None:
        self.names = names
        self.read: set[str] = set()
        self.imported: set[str] = set()
        self.budget = budget

    def value(self, node: ast.expr, *, is_way: bool = False) -> Any:
        """Return the value of an expression.

        Args:
            node: The expression.
            is_way: Only something in the value is wanted, so it costs nothing to go through the rest.

        Raises:
            NeedsExecutionError: It is more than a config is made of, or has no value.
        """
        self.budget.spend(1, node.lineno)
        try:
            result = self._value(node)
        except NeedsExecutionError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            words = f"no key {error}" if isinstance(error, KeyError) else str(error)
            raise NeedsExecutionError(
                f"{_shown(node)} has no value ({type(error).__name__}: {words})", node.lineno
            ) from None
        too_long = hasattr(result, "__len__") and len(result) > _MAX_LENGTH
        if too_long or (isinstance(result, int) and result.bit_length() > _MAX_BITS):
            raise NeedsExecutionError(f"{_shown(node)} is too large for a config", node.lineno)
        if not is_way:
            self.budget.spend_on(result, node.lineno)
        return result

    def bind(self, target: ast.expr, value: Any) -> None:
        """Bind what stands left of ``=`` to `value`: a name, a key of a dict, or several.

        Raises:
            NeedsExecutionError: It is something else.
        """
        match target:
            case ast.Name(id=name):
                self.names[name] = value
                self.imported.discard(name)
            case ast.Subscript(value=container, slice=index):
                self._put(self.value(container), self.value(index), value, target)
            case ast.Attribute(value=container, attr=key):
                self._put(self.value(container), key, value, target)
            case ast.Tuple(elts=targets) | ast.List(elts=targets) if isinstance(value, list | tuple):
                if len(targets) != len(value):
                    raise NeedsExecutionError(f"{_shown(target)} takes {len(targets)} values", target.lineno)
                for one, item in zip(targets, value, strict=True):
                    self.bind(one, item)
            case _:
                raise NeedsExecutionError(f"nothing can be bound to {_shown(target)}", target.lineno)

    def change(self, call: ast.Call) -> None:
        """Do what a method call that stands alone does to a dict or a list.

        Raises:
            NeedsExecutionError: It is another call.
        """
        if not isinstance(call.func, ast.Attribute):
            raise NeedsExecutionError(f"{_shown(call)} would have to be run", call.lineno)
        self.value(call)

    def import_names(self, names: dict[str, str]) -> None:
        """Bind each name to the name of the class that it stands for."""
        self.names.update(names)
        self.imported |= names.keys()

    def _value(self, node: ast.expr) -> Any:  # noqa: PLR0911, PLR0912 -- a case for each kind of expression
        match node:
            case ast.Constant(value=str(text)):
                found = _BASE_TEMPLATE.fullmatch(text.strip())
                return self._of_base(found[1], node.lineno) if found else text
            case ast.Constant(value=value) if value is None or isinstance(value, bool | int | float):
                return value
            case ast.List(elts=items):
                return self._items(items)
            case ast.Tuple(elts=items):
                return tuple(self._items(items))
            case ast.Set(elts=[ast.Set(elts=[ast.Attribute() as base])]):  # {{_base_.x}} is Python's set of a set
                return self._of_base(ast.unparse(base), node.lineno)
            case ast.Dict(keys=keys, values=values):
                made: dict[Any, Any] = {}
                for key, value in zip(keys, values, strict=True):
                    made |= self.value(value) if key is None else {self.value(key): self.value(value)}
                return made
            case ast.Name(id=name):
                if name not in self.names:
                    raise NeedsExecutionError(f"the name {name!r} is bound nowhere above", node.lineno)
                self.read.add(name)
                return self.names[name]
            case ast.BinOp(left=left, op=op, right=right):
                return self._operation(node, op, self.value(left), self.value(right))
            case ast.UnaryOp(op=unary, operand=operand) if type(unary) in _UNARY:
                return _UNARY[type(unary)](self.value(operand))
            case ast.BoolOp(op=both, values=values):
                result = None
                for value in values:
                    result = self.value(value)
                    if bool(result) is isinstance(both, ast.Or):
                        break
                return result
            case ast.Compare(left=left, ops=[comparison], comparators=[right]) if type(comparison) in _COMPARISONS:
                return _COMPARISONS[type(comparison)](self.value(left), self.value(right))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.value(body if self.value(test) else orelse)
            case ast.Subscript(value=container, slice=ast.Slice(lower=lower, upper=upper, step=step)):
                parts = (None if part is None else self.value(part) for part in (lower, upper, step))
                return self.value(container, is_way=True)[slice(*parts)]
            case ast.Subscript(value=container, slice=index):
                return self.value(container, is_way=True)[self.value(index)]
            case ast.Attribute(value=container, attr=key):
                return self._attribute(node, self.value(container, is_way=True), key)
            case ast.JoinedStr(values=parts):
                return "".join(str(self.value(part)) for part in parts)
            case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                return self.value(value)
            case ast.ListComp(elt=item, generators=[ast.comprehension(ifs=tests, is_async=0) as loop]):
                self.budget.spend(len(self.names) // _VALUES_A_STEP, node.lineno)
                outside = dict(self.names)
                made_of = [
                    self.value(item) for _ in loop_over(self, loop.target, loop.iter) if all(map(self.value, tests))
                ]
                self.names = outside  # what a comprehension binds is its own
                return made_of
            case ast.Call():
                return self._call(node)
        raise NeedsExecutionError(f"{_shown(node)} would have to be run", node.lineno)

    def _items(self, nodes: list[ast.expr]) -> list[Any]:
        items: list[Any] = []
        for node in nodes:
            items += self.value(node.value) if isinstance(node, ast.Starred) else [self.value(node)]
        return items

    def _operation(self, node: ast.expr, op: ast.operator, left: Any, right: Any) -> Any:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if isinstance(op, ast.Pow):
            fits = numbers and abs(right) <= 64
        elif isinstance(op, ast.Mult):
            times, many = (left, right) if isinstance(left, int) else (right, left)
            fits = numbers or (isinstance(many, str | list | tuple) and abs(times) * len(many) <= _MAX_LENGTH)
        elif isinstance(op, ast.Add):
            fits = numbers or type(left) is type(right)
        else:
            fits = numbers
        if type(op) not in _OPERATORS or not fits:
            raise NeedsExecutionError(f"{_shown(node)} would have to be run", node.lineno)
        return _OPERATORS[type(op)](left, right)

    def _call(self, call: ast.Call) -> Any:
        arguments = self._items(call.args)
        named: dict[str, Any] = {}
        for keyword in call.keywords:
            named |= self.value(keyword.value) if keyword.arg is None else {keyword.arg: self.value(keyword.value)}
        match call.func:
            case ast.Name(id=name) if name in _FUNCTIONS and name not in self.names:
                if name == "range" and any(abs(bound) > _MAX_LENGTH for bound in arguments):
                    raise NeedsExecutionError(f"{_shown(call)} is too large for a config", call.lineno)
                if name == "round" and any(abs(digits) > _MAX_DIGITS for digits in [*arguments[1:], *named.values()]):
                    raise NeedsExecutionError(f"{_shown(call)} is too large for a config", call.lineno)
                if name == "sum" and any(isinstance(item, list | tuple) for item in arguments[0]):
                    raise NeedsExecutionError(f"{_shown(call)} would have to be run", call.lineno)
                result = _FUNCTIONS[name](*arguments, **named)
                return list(result) if name in ("range", "reversed", "zip") else result
            case ast.Attribute(value=owner, attr=method):
                is_searched = method in ("index", "remove")
                return self._method(call, self.value(owner, is_way=not is_searched), method, arguments, named)
        raise NeedsExecutionError(f"{_shown(call)} would have to be run", call.lineno)

    def _method(self, call: ast.Call, owner: Any, method: str, arguments: list[Any], named: dict[str, Any]) -> Any:
        if method not in _METHODS.get(type(owner), ()):
            raise NeedsExecutionError(f"{_shown(call)} would have to be run", call.lineno)
        if method == "merge":
            merged = merge(owner, *arguments)
            owner.clear()
            owner.update(merged)
            return None
        result = getattr(owner, method)(*arguments, **named)
        return list(result) if method in ("items", "keys", "values") else result

    def _attribute(self, node: ast.expr, container: Any, key: str) -> Any:
        if not isinstance(container, dict):
            raise NeedsExecutionError(f"{_shown(node)} would have to be run", node.lineno)
        return container[key]

    def _put(self, container: Any, key: Any, value: Any, target: ast.expr) -> None:
        if not isinstance(container, dict | list):
            raise NeedsExecutionError(f"nothing can be bound to {_shown(target)}", target.lineno)
        try:
            container[key] = value
        except (LookupError, TypeError) as error:
            raise NeedsExecutionError(f"{_shown(target)} cannot be set ({error})", target.lineno) from None

    def _of_base(self, dotted: str, line: int) -> Any:
        value = self.names["_base_"]
        for key in dotted.split(".")[1:]:
            value = value[int(key)] if isinstance(value, list | tuple) else value[key]
        self.budget.spend_on(value, line)
        return copy.deepcopy(value)


def loop_over(evaluator: Evaluator, target: ast.expr, source: ast.expr) -> Iterator[None]:
    """Bind `target` to each item of `source` in turn."""
    for item in evaluator.value(source):
        evaluator.bind(target, item)
        yield


def target_names(statement: ast.Assign) -> list[str]:
    """Return the plain names that an assignment binds."""
    return [target.id for target in statement.targets if isinstance(target, ast.Name)]


def _shown(node: ast.expr) -> str:
    text = ast.unparse(node)
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
