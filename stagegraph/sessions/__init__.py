"""Sessions: a graph that runs again and again, each run going on from what the one before left.

::

    session = Session(load("ltx2/continue"), seed=7)
    for segment in session.stream([{"prompt": "a ship at dawn"}, {"prompt": "the ship leaves the harbour"}]):
        print(segment["video"])
    state = session.snapshot()                            # plain JSON, to keep or to send
    Session.hydrate(load("ltx2/continue"), state).extend(prompt="open sea")  # anywhere
"""

from stagegraph.sessions.session import Segment, Session
from stagegraph.sessions.snapshot import Snapshot

__all__ = ["Segment", "Session", "Snapshot"]
