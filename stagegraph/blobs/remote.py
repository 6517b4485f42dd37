"""Records anywhere that fsspec reaches: S3, Google Cloud Storage, Azure, SFTP, other machines' disks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stagegraph.errors import Fault, MissingError, StoreError
from stagegraph.tensorfile import Chunk


class RemoteShelf:
    """Records below a URL.

    Args:
        url: of a folder or bucket: "s3://bucket/blobs".
        options: what the file system of the URL takes; see fsspec and, for S3, s3fs.

    Raises:
        MissingError: fsspec, or what it needs for this URL, is not installed.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        try:
            import fsspec

            # listings must show what other processes have done
            self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False, **(options or {}))
        except ImportError as error:
            scheme = url.partition(":")[0]
            fix = f'pip install "stagegraph[blobs]"{" s3fs" if scheme == "s3" else ""}'
            what = f"blobs cannot be kept at {scheme}: {error}"
            raise MissingError(Fault("missing_library", what, fix=fix)) from error
        except ValueError as error:
            raise StoreError(_failed(url, str(error))) from error
        self._url = url

    def write(self, folder: str, name: str, chunks: Sequence[Chunk]) -> None:
        """See `Shelf`: object stores show an object when it is complete.

        On other file systems a writer that dies leaves half a record, which is refused when it is read.
        """
        with self._told():
            self._files.pipe_file(self._path(folder, name), b"".join(chunks))

    def create(self, folder: str, name: str, data: bytes) -> None:
        """See `Shelf`; file systems that cannot do so in one step leave a moment in which two may both write."""
        with self._told(), contextlib.suppress(FileExistsError):
            if not self._files.exists(self._path(folder, name)):
                try:
                    self._files.pipe_file(self._path(folder, name), data, mode="create")
                except (NotImplementedError, TypeError):
                    self._files.pipe_file(self._path(folder, name), data)

    def read(self, folder: str, name: str, size: int) -> bytes | None:
        """See `Shelf`: no more is asked for, so that no more comes."""
        with self._told(), contextlib.suppress(FileNotFoundError):
            return bytes(self._files.cat_file(self._path(folder, name), start=0, end=size))
        return None

    def remove(self, folder: str, name: str) -> None:
        """See `Shelf`."""
        with self._told(), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(folder, name))

    def names(self, folder: str) -> list[tuple[str, int]]:
        """See `Shelf`."""
        return [(_last(entry), int(entry["size"])) for entry in self._listed(folder) if entry["type"] == "file"]

    def folders(self) -> list[str]:
        """See `Shelf`."""
        return [_last(entry) for entry in self._listed("") if entry["type"] == "directory"]

    def _listed(self, folder: str) -> list[dict[str, Any]]:
        with self._told(), contextlib.suppress(FileNotFoundError):
            return list(self._files.ls(self._path(folder), detail=True, refresh=True))
        return []

    def _path(self, *parts: str) -> str:
        return "/".join([self._root.rstrip("/"), *filter(None, parts)])

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ImportError, ValueError, TimeoutError) as error:
            raise StoreError(_failed(self._url, f"{type(error).__name__}: {error}")) from error


def _last(entry: Mapping[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rpartition("/")[2]


def _failed(url: str, what: str) -> Fault:
    return Fault("store_failed", f"the blobs cannot be reached: {what}", url, "the file system refused", "try again")
