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
from pathlib import Path
from typing import Any

from t2t_vit.config.mmpretrain.bases import known_base
from t2t_vit.config.mmpretrain.evaluate import Evaluator, NeedsExecutionError, loop_over, target_names
from t2t_vit.config.mmpretrain.merge import merge
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

_ENVIRONMENT = re.compile(r"\{\{\s*\$([A-Za-z_]\w*)\s*:\s*([^{}]*?)\s*\}\}")


def is_mmpretrain(text: str) -> bool:
    """Whether `text` is a config of MMPretrain rather than one that binds `experiment`."""
    try:
        tree = ast.parse(_with_environment(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "t2t_vit":
            return False
        if isinstance(node, ast.Name) and (isinstance(node.ctx, ast.Store) or node.id == "read_base"):
            bound.add(node.id)
        elif isinstance(node, ast.alias):
            bound.add(node.asname or node.name)
    return "experiment" not in bound and bool(bound & (_TELLTALE | {"read_base"}))


def read_config(path: Path) -> tuple[dict[str, Any], set[str]]:
    """Return the values that the config at `path` binds, its bases below them, and the names that only serve others.

    Raises:
        ConfigError: A file is missing or broken, or would have to be run.
    """
    file = _ConfigFile(path, ())
    return file.values, file.used


class _ConfigFile:
    """One file, read.

    Args:
        path: The file.
        inside: The files that have this one as a base, outermost first.
    """

    def __init__(self, path: Path, inside: tuple[Path, ...]) -> None:
        self.path = path
        self.inside = (*inside, path.resolve())
        self.used: set[str] = set()
        self.base: dict[str, Any] = {}
        self._is_new_style = False
        tree = self._parse()
        self._evaluator = Evaluator({})
        for statement in tree.body:
            self._guarded(self._read_base, statement)
        self._evaluator.names["_base_"] = copy.deepcopy(self.base)
        for statement in tree.body:
            self._guarded(self._run, statement)
        own = {
            name: value
            for name, value in self._evaluator.names.items()
            if not name.startswith("_") and name not in self._evaluator.imported
        }
        self.values = own if self._is_new_style else merge(self.base, own)
        self.used |= self._evaluator.read

    def _parse(self) -> ast.Module:
        try:
            text = self.path.read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {self.path}: {error}") from None
        text = _with_environment(text)
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

    def _guarded(self, act: Any, statement: ast.stmt) -> None:
        try:
            act(statement)
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
        if "::" not in name and path.is_file():
            values = self._base_file(path, line)
        else:
            known = known_base(name)
            if isinstance(known, list):
                raise ConfigError(
                    f"{self.path}:{line}: there is no base {name!r} (looked for {path}); copy it beside this config, "
                    f"or use one that is known without its file: {', '.join(known)}"
                )
            values = known
        twice = sorted(self.base.keys() & values.keys())
        if twice:
            raise ConfigError(f"{self.path}:{line}: two bases bind {twice[0]!r}; keep it in one of them")
        self.base |= values

    def _base_file(self, path: Path, line: int) -> dict[str, Any]:
        if path.resolve() in self.inside:
            raise ConfigError(f"{self.path}:{line}: {path} is a base of itself")
        text = path.read_bytes().decode("utf-8", errors="replace")
        if re.search(r"^experiment\s*=", text, re.MULTILINE):
            known = known_base(path.name)
            if isinstance(known, dict):
                return known
            raise ConfigError(
                f"{self.path}:{line}: the base {path} binds `experiment`; such a config is not for _base_: import it"
            )
        base = _ConfigFile(path, self.inside)
        self.used |= base.used
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


def _is_read_base(statement: ast.With) -> bool:
    calls = [item.context_expr for item in statement.items]
    return all(
        isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "read_base" for call in calls
    )


def _with_environment(text: str) -> str:
    """Return `text` with each ``{{$NAME:default}}`` replaced by the environment's value."""
    return _ENVIRONMENT.sub(lambda found: os.environ.get(found[1], found[2]), text)
