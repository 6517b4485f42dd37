"""Blobs: what is too large for a message, kept for its owner for a while.

::

    blobs = open_blobs("/var/lib/blobs")       # or "memory:", or any URL that fsspec opens: "s3://bucket/blobs"
    store = blobs.for_owner("session-1")       # a `stagegraph.continuation.BlobStore`
    blob_id = store.put(data, "application/octet-stream")
"""

from stagegraph.blobs.blobs import Blobs, OwnedBlobs, open_blobs
from stagegraph.blobs.shelves import FolderShelf, MemoryShelf, Shelf

__all__ = ["Blobs", "FolderShelf", "MemoryShelf", "OwnedBlobs", "Shelf", "open_blobs"]
