"""From the text of an MMPretrain config to plain values, without running it.

The file is parsed, and what a config is made of is computed here: literals, `dict(...)`, arithmetic, names bound
earlier, `_base_` files and the `{{ … }}` templates. What would need Python itself is refused with its line.

Source: MMEngine 0.10, `config/config.py`, for what `_base_`, `_delete_` and the templates mean.
"""

from __future__ import annotations

import ast
import copy
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from t2t_vit.config.mmpretrain.bases import known_base
from t2t_vit.config.mmpretrain.evaluate import Budget, Evaluator, NeedsExecutionError, loop_over, target_names
from t2t_vit.config.mmpretrain.merge import merge, unshared
from t2t_vit.errors import ConfigError

#: Names at the top of a config that no other kind of file has.
_TELLTALE = {
    "_base_",
    "auto_scale_lr",
    "custom_hooks",
    "data_preprocessor",
    "default_hooks",
    "default_scope",
    "model",
    "optim_wrapper",
    "param_scheduler",
    "test_dataloader",
    "train_cfg",
    "train_dataloader",
    "train_pipeline",
    "val_dataloader",
}

_ENVIRONMENT = re.compile(r"\{\{\s*\$([A-Za-z_]\w*)\s*:([^{}]*)\}\}")

#: A config is small; parsing takes seconds for each megabyte of what is none.
_MAX_BYTES = 2**20
#: What one more file takes of the budget.
_STEPS_A_FILE = 1000


class Values(NamedTuple):
    """What a config says.

    Attributes:
        by_name: What it binds, its bases below.
        used: The names that only serve others.
        notes: What is taken otherwise than MMPretrain would.
    """

    by_name: dict[str, Any]
    used: set[str]
    notes: list[str]


def is_mmpretrain(text: str) -> bool:
    """Whether `text` is a config of MMPretrain rather than one that binds `experiment`.

    What decides is bound at the top: nothing that is called `experiment` by chance makes a file of theirs one to run.

    Raises:
        ConfigError: `text` is nested too deeply to tell.
    """
    try:
        tree = _tree(text) or _tree(_with_environment(text))
    except (RecursionError, MemoryError):
        raise ConfigError("it is nested too deeply for a config") from None
    if tree is None:
        return False
    bindings = list(_bindings(tree.body))
    if any(name == "experiment" and _called(value) == "Experiment" for name, value in bindings):
        return False
    if any(name == "model" and (isinstance(value, ast.Dict) or _called(value) == "dict") for name, value in bindings):
        return True
    bound = {name for name, _ in bindings}
    if bound & {"_base_", "read_base"}:
        return True
    return not bound & {"experiment", "t2t_vit"} and bool(bound & _TELLTALE)


def read_text(path: Path, errors: str = "strict") -> str:
    """Return the text of a config.

    Args:
        path: The file.
        errors: What becomes of bytes that are no UTF-8, as in `bytes.decode`.

    Raises:
        ConfigError: It cannot be read, or is too large for one.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        text = content.decode("utf-8-sig", errors)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{path} is larger than 1 MiB; expected a config, which is a few kilobytes")
    return text


def read_config(path: Path) -> Values:
    """Return what the config at `path` binds, its bases below.

    Raises:
        ConfigError: A file is missing or broken, or would have to be run.
    """
    file = _ConfigFile(path, (), Budget())
    return Values(file.values, file.used, file.notes)


class _ConfigFile:
    """One file, read.

    Args:
        path: The file.
        inside: The files that have this one as a base, outermost first.
        budget: What it may take, with all the others.
    """

    def __init__(self, path: Path, inside: tuple[Path, ...], budget: Budget) -> None:
        self.path = path
        self.inside = (*inside, path.resolve())
        self.used: set[str] = set()
        self.notes: list[str] = []
        self.base: dict[str, Any] = {}
        self._is_new_style = False
        tree = self._parse()
        self._evaluator = Evaluator({}, budget)
        for statement in tree.body:
            self._guarded(self._read_base, statement)
        # What a config changes in `_base_` lies below its own values.
        self._evaluator.names["_base_"] = self.base
        for statement in tree.body:
            self._guarded(self._run, statement)
        own = {
            name: value
            for name, value in self._evaluator.names.items()
            if not name.startswith("_") and name not in self._evaluator.imported
        }
        self.values: dict[str, Any] = {}
        for statement in tree.body[-1:]:
            self._guarded(self._settle, statement, own)
        self.used |= self._evaluator.read

    def _settle(self, last: ast.stmt, own: dict[str, Any]) -> None:
        for values in (self.base, own):
            self._evaluator.budget.spend_on(values, last.lineno)
        self.base, own = unshared(self.base), unshared(own)
        self.values = own if self._is_new_style else merge(self.base, own)

    def _parse(self) -> ast.Module:
        text = _with_environment(read_text(self.path))
        for name, value in {
            "fileDirname": self.path.absolute().parent.as_posix(),
            "fileBasenameNoExtension": self.path.stem,
            "fileBasename": self.path.name,
            "fileExtname": self.path.suffix,
        }.items():
            text = re.sub(r"\{\{\s*" + name + r"\s*\}\}", lambda _, value=value: value, text)  # type: ignore[misc]
        try:
            return ast.parse(text)
        except SyntaxError as error:
            raise ConfigError(f"{self.path}:{error.lineno}: SyntaxError: {error.msg}") from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise ConfigError(f"{self.path}: it cannot be parsed ({error or type(error).__name__})") from None

    def _guarded(self, act: Any, statement: ast.stmt, *arguments: Any) -> None:
        try:
            act(statement, *arguments)
        except NeedsExecutionError as error:
            raise ConfigError(
                f"{self.path}:{error.line or statement.lineno}: {error}; MMPretrain's configs are read here without "
                "being run: write the value itself"
            ) from None
        except RecursionError:
            raise ConfigError(f"{self.path}:{statement.lineno}: it is nested too deeply") from None

    def _read_base(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Assign) and target_names(statement) == ["_base_"]:
            bases = self._evaluator.value(statement.value)
            for base in [bases] if isinstance(bases, str) else bases:
                if not isinstance(base, str):
                    raise NeedsExecutionError(f"_base_ has {base!r}; expected paths of configs", statement.lineno)
                self._add_base(base, statement.lineno)
        elif isinstance(statement, ast.With) and _is_read_base(statement):
            for line in statement.body:
                if not isinstance(line, ast.ImportFrom) or not line.module:
                    raise NeedsExecutionError("read_base() takes only `from CONFIG import *`", line.lineno)
                folders = [".."] * (line.level - 1) if line.level else ["mmpretrain::"]
                self._add_base("/".join([*folders, *line.module.split(".")]) + ".py", line.lineno)
            # A base's names are the config's own here, and what is written over one replaces it whole.
            self._is_new_style = True
            self._evaluator.names.update(copy.deepcopy(self.base))

    def _add_base(self, name: str, line: int) -> None:
        path = self.path.parent / name.rpartition("::")[2]
        self._evaluator.budget.spend(_STEPS_A_FILE, line)
        if "::" not in name and path.is_file():
            values = self._base_file(path, line)
        else:
            is_theirs = "::" in name
            known = known_base(name if is_theirs else os.path.abspath(path))  # noqa: PTH100 -- without resolving links
            if isinstance(known, list):
                raise ConfigError(
                    f"{self.path}:{line}: there is no base {name!r} (looked for {path}); copy it beside this config, "
                    f"or use one that is known without its file: {', '.join(known)}"
                )
            values = known
            if not is_theirs:
                self.notes.append(f"{path} is not there; MMPretrain 1.2.0's own is used")
        twice = sorted(self.base.keys() & values.keys())
        if twice:
            raise ConfigError(f"{self.path}:{line}: two bases bind {twice[0]!r}; keep it in one of them")
        self.base |= values

    def _base_file(self, path: Path, line: int) -> dict[str, Any]:
        if path.resolve() in self.inside:
            raise ConfigError(f"{self.path}:{line}: {path} is a base of itself")
        text = read_text(path)
        if not is_mmpretrain(text) and re.search(r"^experiment\s*=", text, re.MULTILINE):
            known = known_base(f"t2t_vit/{path.name}")
            if isinstance(known, dict):
                self.notes.append(f"{path} binds `experiment`; MMPretrain 1.2.0's own of this name is used")
                return known
            raise ConfigError(
                f"{self.path}:{line}: the base {path} binds `experiment`; such a config is not for _base_: import it"
            )
        base = _ConfigFile(path, self.inside, self._evaluator.budget)
        self.used |= base.used
        self.notes += base.notes
        return base.values

    def _run(self, statement: ast.stmt) -> None:  # noqa: PLR0912 -- a case for each kind of statement
        evaluator = self._evaluator
        match statement:
            case ast.Assign(targets=targets, value=value):
                if target_names(statement) == ["_base_"]:
                    return
                result = evaluator.value(value)
                for target in targets:
                    evaluator.bind(target, result)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                evaluator.bind(target, evaluator.value(value))
            case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                left = ast.copy_location(ast.Name(id=name, ctx=ast.Load()), target)
                evaluator.bind(target, evaluator.value(ast.copy_location(ast.BinOp(left, op, value), statement)))
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case ast.Expr(value=ast.Call() as call):
                evaluator.change(call)
            case ast.ImportFrom(level=0, names=names) if all(alias.name != "*" for alias in names):
                # New-style configs name classes themselves; the name is all that is needed of one.
                evaluator.import_names({alias.asname or alias.name: alias.name for alias in names})
            case ast.With() if _is_read_base(statement):
                pass
            case ast.For(target=target, iter=source, body=body, orelse=[]):
                for _ in loop_over(evaluator, target, source):
                    for line in body:
                        self._run(line)
            case _:
                words = type(statement).__name__.removesuffix("Def")
                raise NeedsExecutionError(f"it has a statement that would have to be run ({words})", statement.lineno)


def _tree(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _bindings(statements: list[ast.stmt]) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield each name that a file binds at its top, with its value where it is one plain name's.

    An import from this package counts as `t2t_vit`, and ``with read_base()`` as `read_base`.
    """
    for statement in statements:
        match statement:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    plain = isinstance(target, ast.Name)
                    yield from ((name, value if plain else None) for name in _stored(target))
            case ast.AnnAssign(target=target, value=value):
                yield from ((name, value) for name in _stored(target))
            case ast.AugAssign(target=target):
                yield from ((name, None) for name in _stored(target))
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from ((alias.asname or alias.name, None) for alias in names)
                if isinstance(statement, ast.ImportFrom) and (statement.module or "").split(".")[0] == "t2t_vit":
                    yield "t2t_vit", None
            case ast.For(target=target, body=body, orelse=orelse):
                yield from ((name, None) for name in _stored(target))
                yield from _bindings([*body, *orelse])
            case ast.If(body=body, orelse=orelse) | ast.While(body=body, orelse=orelse):
                yield from _bindings([*body, *orelse])
            case ast.With(body=body):
                if _is_read_base(statement):
                    yield "read_base", None
                yield from _bindings(body)
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
                yield from _bindings([*body, *(s for handler in handlers for s in handler.body), *orelse, *finalbody])


def _stored(target: ast.expr) -> list[str]:
    return [n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def _called(value: ast.expr | None) -> str | None:
    """Return the last name of what `value` calls, None if it is no call."""
    if not isinstance(value, ast.Call):
        return None
    called = value.func
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else None


def _is_read_base(statement: ast.With) -> bool:
    calls = [item.context_expr for item in statement.items]
    return all(
        isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "read_base" for call in calls
    )


def _with_environment(text: str) -> str:
    """Return `text` with each ``{{$NAME:default}}`` replaced by the environment's value."""
    return _ENVIRONMENT.sub(lambda found: os.environ.get(found[1], found[2].strip()), text)
