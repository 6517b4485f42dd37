"""`Blobs` and the part of them that one owner sees."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeGuard

import attrs

from stagegraph.blobs.shelves import FolderShelf, MemoryShelf, Shelf
from stagegraph.continuation import BLOB_ID, refusal
from stagegraph.errors import Fault, StoreError
from stagegraph.serde import describe
from stagegraph.tensorfile import Chunk

#: Seconds for which a blob is kept after it was last put.
TTL: Final = 86400.0
#: Bytes of one blob.
MAX_BLOB: Final = 256 * 2**20
#: Bytes of all blobs of one owner.
MAX_OWNER: Final = 1024 * 2**20

_MAGIC: Final = b"SGBLOB1\n"
#: Magic, the second since 1970 at which it expires, the length of its MIME type.
_HEAD: Final = struct.Struct(">8sQB")
_MIME: Final = re.compile(r"[!-~]{1,127}")
_SECRET: Final = ("key", "key")
_SECRET_BYTES: Final = 32


class Blobs:
    """The blobs of every owner.

    An id is a keyed hash of the owner, the MIME type and the content, under a random secret of the shelf: nobody can
    guess one, the same bytes get the same id again, and what is read is known to be what this owner put. Owners have
    folders of their own, so that a foreign id is looked for exactly as one that never was.

    Args:
        shelf: where they stand.
        ttl: seconds for which a blob is kept after it was last put.
        max_blob: bytes of one blob.
        max_owner: bytes of all blobs of one owner.
        clock: seconds since 1970.

    Raises:
        StoreError: the shelf cannot be used.
    """

    def __init__(
        self,
        shelf: Shelf,
        *,
        ttl: float = TTL,
        max_blob: int = MAX_BLOB,
        max_owner: int = MAX_OWNER,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.shelf = shelf
        self.ttl = ttl
        self.max_blob = max_blob
        self.max_owner = max_owner
        self.clock = clock
        shelf.create(*_SECRET, secrets.token_bytes(_SECRET_BYTES))
        self._secret = shelf.read(*_SECRET, _SECRET_BYTES + 1) or b""
        if len(self._secret) != _SECRET_BYTES:
            what = f"the key of the blobs has {len(self._secret)} bytes, not {_SECRET_BYTES}"
            raise StoreError(
                Fault("store_corrupt", what, fix="remove the blobs; the states that refer to them are lost")
            )

    def for_owner(self, owner: str) -> OwnedBlobs:
        """The blobs of one owner: a session, a tenant. Others cannot tell them from blobs that do not exist."""
        return OwnedBlobs(self, self.keyed(b"owner", owner.encode("utf-8", "surrogatepass")))

    def expire(self) -> int:
        """Remove what has outlived its time, or is no blob; gives how many. For a server to call now and then."""
        removed = 0
        for folder in filter(BLOB_ID.fullmatch, self.shelf.folders()):
            for name, _ in self.shelf.names(folder):
                head = self.shelf.read(folder, name, _HEAD.size)
                if head is not None and not self.lives(head):
                    self.shelf.remove(folder, name)
                    removed += 1
        return removed

    def lives(self, record: bytes) -> bool:
        """Whether a record, or the head of one, has not expired."""
        if len(record) < _HEAD.size:
            return False
        magic, expires, _ = _HEAD.unpack_from(record)
        return bool(magic == _MAGIC and self.clock() < expires)

    def keyed(self, *parts: Chunk) -> str:
        """32 hex digits that follow from the parts and the secret."""
        digest = hmac.new(self._secret, digestmod=hashlib.sha256)
        for part in parts:
            view = memoryview(part).cast("B")
            digest.update(len(view).to_bytes(8, "big"))
            digest.update(view)
        return digest.hexdigest()[:32]


@attrs.frozen(eq=False)
class OwnedBlobs:
    """The blobs of one owner; a `stagegraph.continuation.BlobStore`."""

    blobs: Blobs = attrs.field(repr=False)
    folder: str = attrs.field(repr=False)

    def put(self, data: Chunk, mime: str = "application/octet-stream") -> str:
        """Keep bytes; the same bytes of the same type get the same id, and a new lease of life.

        Args:
            data: at most `max_blob` bytes.
            mime: what they are.

        Raises:
            ContinuationError: too many bytes, or no MIME type.
            StoreError: they could not be stored.
        """
        if not isinstance(mime, str) or not _MIME.fullmatch(mime):
            raise refusal((), "invalid_value", f"{describe(mime)} is no MIME type", 'must be like "image/png"')
        size = memoryview(data).nbytes
        if size > self.blobs.max_blob:
            raise refusal((), "too_large", f"a blob has {size} bytes", f"must have at most {self.blobs.max_blob}")
        blob_id = self.blobs.keyed(self.folder.encode(), mime.encode(), data)
        others = sum(length for name, length in self.blobs.shelf.names(self.folder) if name != blob_id)
        if others + size > self.blobs.max_owner:
            why = f"the blobs of one owner may have {self.blobs.max_owner} bytes, and others have {others}"
            raise refusal((), "too_large", f"a blob of {size} bytes does not fit", why, "drop those that nobody needs")
        head = _HEAD.pack(_MAGIC, int(self.blobs.clock() + self.blobs.ttl), len(mime)) + mime.encode()
        self.blobs.shelf.write(self.folder, blob_id, [head, data])
        return blob_id

    def get(self, blob_id: str) -> bytes:
        """The bytes, known to be those that were put.

        Raises:
            ContinuationError: no id, no such blob of this owner, one that has expired, or one that was damaged.
            StoreError: they could not be read.
        """
        if not is_blob_id(blob_id):
            raise refusal((), "invalid_value", f"{describe(blob_id)} is no blob id", "must be 32 lower-case hex digits")
        most = _HEAD.size + 255 + self.blobs.max_blob
        record = self.blobs.shelf.read(self.folder, blob_id, most + 1)
        if record is None or (record.startswith(_MAGIC) and not self.blobs.lives(record)):
            why = "it was dropped, has expired, or never was"
            raise refusal((), "unknown_blob", f"there is no blob {blob_id}", why, "begin without a continuation")
        start = _HEAD.size + (record[_HEAD.size - 1] if len(record) >= _HEAD.size else 0)
        mime, data = record[_HEAD.size : start], memoryview(record)[start:]
        if len(record) > most or not hmac.compare_digest(self.blobs.keyed(self.folder.encode(), mime, data), blob_id):
            raise refusal((), "bad_blob", f"the blob {blob_id} is not what was put", "a disk, or somebody, changed it")
        return bytes(data)

    def drop(self, blob_id: str) -> None:
        """Forget a blob of this owner, if it is there."""
        if is_blob_id(blob_id):
            self.blobs.shelf.remove(self.folder, blob_id)

    def retain(self, blob_ids: Iterable[str]) -> int:
        """Forget all blobs of this owner but these; gives how many. For a session whose state was replaced."""
        kept = frozenset(blob_ids)
        gone = [name for name, _ in self.blobs.shelf.names(self.folder) if name not in kept]
        for name in gone:
            self.blobs.shelf.remove(self.folder, name)
        return len(gone)

    def end(self) -> int:
        """Forget all blobs of this owner: its session is over."""
        return self.retain(())

    def __contains__(self, blob_id: object) -> bool:
        """Whether this owner has a blob of this id that has not expired."""
        head = self.blobs.shelf.read(self.folder, blob_id, _HEAD.size) if is_blob_id(blob_id) else None
        return head is not None and self.blobs.lives(head)

    def __len__(self) -> int:
        """How many blobs this owner has, with those that have expired and were not removed yet."""
        return len(self.blobs.shelf.names(self.folder))


def is_blob_id(value: object) -> TypeGuard[str]:
    """Whether a value has the shape of an id; looked at before anything else is done with it."""
    return isinstance(value, str) and BLOB_ID.fullmatch(value) is not None


def open_blobs(where: str | Path, options: Mapping[str, Any] | None = None, **settings: Any) -> Blobs:
    """Blobs at a place that the operator names; never one that comes from a payload.

    Args:
        where: "memory:", a folder, or the URL of one that fsspec reaches: "s3://bucket/blobs".
        options: for the file system of a URL: credentials, endpoints.
        settings: of `Blobs`: ttl, max_blob, max_owner, clock.

    Raises:
        MissingError: a library for this URL is not installed.
        StoreError: the place cannot be used.
    """
    text = str(where)
    if text == "memory:":
        return Blobs(MemoryShelf(), **settings)
    if text.startswith("file://"):
        return Blobs(FolderShelf(Path(text.removeprefix("file://"))), **settings)
    if "://" not in text:
        return Blobs(FolderShelf(Path(where)), **settings)
    from stagegraph.blobs.remote import RemoteShelf

    return Blobs(RemoteShelf(text, options), **settings)
