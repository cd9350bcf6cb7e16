"""Bytes of an image that lies behind a URL."""

from __future__ import annotations

import http.client
import string
import urllib.error
import urllib.request
from typing import Final
from urllib.parse import quote

from t2t_vit.errors import ImageError

MAX_BYTES: Final = 256 * 1024**2
_TIMEOUT_SECONDS: Final = 30
_SCHEMES: Final = ("http://", "https://")


def is_url(source: object) -> bool:
    """Whether `source` is a string that begins like a web address."""
    return isinstance(source, str) and source.lower().startswith(_SCHEMES)


def read_url(url: str) -> bytes:
    """Return what lies at `url`, an http or https address.

    Raises:
        ImageError: It cannot be had, or has more than `MAX_BYTES`.
    """
    try:
        with urllib.request.urlopen(quote(url, safe=string.punctuation), timeout=_TIMEOUT_SECONDS) as response:
            data: bytes = response.read(MAX_BYTES + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise ImageError(f"cannot fetch the image {url}: the server answered {error.code} {error.reason}") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise ImageError(f"cannot fetch the image {url}: {getattr(error, 'reason', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise ImageError(f"the image {url} has more than {MAX_BYTES // 1024**2} MiB; fetch and shrink it first")
    return data
