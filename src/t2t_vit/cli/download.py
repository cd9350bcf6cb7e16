"""`t2t-vit download`: fetch published weights beforehand."""

from __future__ import annotations

from typing import Annotated

import typer


def download(
    names: Annotated[list[str], typer.Argument(help="Names of models with published weights.")],
) -> None:
    """Fetch published weights into the cache, verify them, and say where they are."""
    from t2t_vit.errors import UnknownModelError
    from t2t_vit.weights.catalogue import CATALOGUE, default_weights, pretrained
    from t2t_vit.weights.download import fetch

    for name in names:
        entry = CATALOGUE.get(name) or default_weights(name) or pretrained(name)
        if entry is None:
            raise UnknownModelError(f"there are no published weights for {name!r}")
        typer.echo(fetch(entry.url, entry.sha256))
