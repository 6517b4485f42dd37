"""The store: artifacts by content, outputs of nodes by key, runs by id. Crash-safe, and shared by processes.

::

    index.sqlite                what there is (write-ahead log; every change is one transaction)
    objects/ab/abcdef...        artifacts of more than 4 KiB, named by their SHA-256
    runs/1a2b3c4d/              events and record of a run
    reserve                     space to remove things in when the disk is full
    quarantine/                 files whose content was not what their name says
"""

from stagegraph.store.store import FREE, Also, Entry, Store

__all__ = ["FREE", "Also", "Entry", "Store"]
