"""The store: artifacts by content, outputs of nodes by key, runs by id. Crash-safe, and shared by processes.

::

    index.sqlite                what there is (write-ahead log; every change is one transaction)
    objects/ab/abcdef...        artifacts of more than 4 KiB, named by their SHA-256
    reserve                     space to remove things in when the disk is full
    quarantine/                 files whose content was not what their name says
"""

from stagegraph.store.store import Also, Entry, Store

__all__ = ["Also", "Entry", "Store"]
