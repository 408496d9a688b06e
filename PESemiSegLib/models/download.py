"""Fetches one file over https, aside, and gives it out only if its SHA-256 is the expected one."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from PESemiSegLib.errors import OutputError, PackageError
from PESemiSegLib.models.verify import MAX_FILE_BYTES

_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 2**20
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def is_address(source: str | Path) -> bool:
    """Whether `source` is an address of any scheme rather than a path."""
    return isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


@contextmanager
def download(address: str, sha256: str | None, folder: Path) -> Iterator[Path]:
    """Give the path of the fetched file inside `folder`; it is removed when the block ends.

    Raises:
        PackageError: not https, no expected SHA-256, too large, unreachable, or another SHA-256.
    """
    if not address.startswith("https://"):
        raise PackageError("models are fetched from https addresses only")
    if sha256 is None or not _SHA256.fullmatch(sha256):
        raise PackageError("a model from an address needs its expected SHA-256 (64 hexadecimal digits)")
    target = folder / f".pesemiseg-{os.getpid()}-{uuid4().hex[:8]}.zip"
    try:
        if _fetch(address, target) != sha256.lower():
            raise PackageError("the downloaded file has another SHA-256 than expected: refused")
        yield target
    finally:
        target.unlink(missing_ok=True)


def _fetch(address: str, target: Path) -> str:
    """Write the answer to `target` and return its SHA-256."""
    try:
        with _opener().open(address, timeout=_TIMEOUT_SECONDS) as answer:
            return _save(answer, target)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise PackageError(f"the model cannot be fetched: {reason}") from error
    except OSError as error:
        raise OutputError(f"the download cannot be stored: {error.strerror or error}") from error


def _save(answer: Any, target: Path) -> str:
    digest, size = hashlib.sha256(), 0
    with target.open("xb") as file:
        while chunk := answer.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > MAX_FILE_BYTES:
                raise PackageError(f"the download exceeds {MAX_FILE_BYTES} bytes: refused")
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never away from https."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith("https://"):
            raise PackageError("the address redirects away from https: refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_HttpsOnly)
