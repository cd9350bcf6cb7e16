"""`t2t-vit models`: which models there are."""

from __future__ import annotations

from typing import Annotated

import typer


def models(
    pattern: Annotated[str | None, typer.Argument(help="Only names that begin so; * and ? are understood.")] = None,
) -> None:
    """List the names that every command and `get_model` take."""
    from t2t_vit.config import shipped_configs
    from t2t_vit.errors import UnknownModelError, nearest
    from t2t_vit.hub import list_models
    from t2t_vit.hub.shipped import shipped_models
    from t2t_vit.model_index import registered
    from t2t_vit.weights.catalogue import CATALOGUE

    names = list_models(pattern)
    if not names:
        raise UnknownModelError(f"no model is called {pattern!r}.{nearest((pattern or '').strip('*?'), list_models())}")
    width = max(map(len, names), default=0)
    for name in names:
        weights = CATALOGUE.get(name)
        kinds = [
            *(["published weights"] if weights is not None else []),
            *(["config"] if name in shipped_configs() else []),
            *(["weights that come along"] if name in shipped_models() else []),
            *(["registered"] if name in registered() else []),
        ]
        quoted = f"  top-1 {weights.top1:.2f} % quoted, {weights.licence}" if weights is not None else ""
        typer.echo(f"{name.ljust(width)}  {', '.join(kinds) or 'architecture'}{quoted}")
