"""Buckets without a network: `gs://NAME/...` and `s3://NAME/...` are folders of this machine.

The packages that would reach them are replaced, and nothing else: paths stay `gs://`, so code that
takes them for local ones fails here as it would there. As with the real package, what others write
is not listed before its own listing is forgotten.
"""

import contextlib
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from etils.epath import backend
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from orbax.checkpoint._src.path import gcs_utils


class FolderBuckets(DirFileSystem):
    """All buckets, each a folder below `root`."""

    protocol = ("gcs", "gs", "s3")
    cachable = False

    def __init__(self, root: pathlib.Path):
        super().__init__(str(root), LocalFileSystem(auto_mkdir=True))
        self.listings: dict[str, list[str]] = {}

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return re.sub("^(gs|gcs|s3)://", "", str(path)).strip("/")

    def glob(self, path: str, **options: Any) -> list[str]:
        if path not in self.listings:
            self.listings[path] = super().glob(path, **options)
        return self.listings[path]

    def invalidate_cache(self, path: str | None = None) -> None:
        self.listings.clear()


@contextlib.contextmanager
def folder_buckets(root: pathlib.Path) -> Iterator[None]:
    """Inside, `gs://NAME/x` and `s3://NAME/x` are `root/NAME/x`."""

    def local_files(path: str) -> dict[str, str]:
        return {"driver": "file", "path": str(root / FolderBuckets._strip_protocol(path))}

    buckets = FolderBuckets(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend.fsspec_backend, "_get_filesystem", lambda name: buckets)
        # Checkpoints have two ways of their own: to arrays, and to what a bucket is like.
        patch.setattr(gcs_utils, "get_kvstore_for_gcs", local_files)
        patch.setattr(gcs_utils, "is_hierarchical_namespace_enabled", lambda path: False)
        yield
