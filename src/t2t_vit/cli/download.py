"""`t2t-vit download`: fetch published weights beforehand."""

from __future__ import annotations

from typing import Annotated

import typer


def download(
    names: Annotated[list[str], typer.Argument(help="Names of models with published weights.")],
) -> None:
    """Fetch published weights into the cache, verify them, and say where they are."""
    from t2t_vit.hub.shipped import shipped_weights
    from t2t_vit.weights.catalogue import pretrained
    from t2t_vit.weights.download import fetch

    for name in names:
        file = shipped_weights(name)
        if file is None:
            entry = pretrained(name)
            file = fetch(entry.url, entry.sha256, size=entry.file_size)
        typer.echo(file)
