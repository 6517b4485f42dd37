"""How the names of tensors in a file become those of a network, and the way back. Needs no torch."""

from __future__ import annotations

import attrs

from stagegraph_ltx2.checkpoint.keymaps import SAME, KeyMap


@attrs.frozen
class Names:
    """The names that one network's tensors have in a file.

    Args:
        prefixes: (in the file, in the network's names) pairs; the first that a name begins with is replaced. A name
            that begins with none is not the network's.
        keys: what else is renamed.
        ignore: beginnings, in the file, of tensors that the network does not take.
        unread: whole names of such tensors.
    """

    prefixes: tuple[tuple[str, str], ...] = (("", ""),)
    keys: KeyMap = SAME
    ignore: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    def ours(self, stored: str) -> str | None:
        """From the name in a file; None for a tensor that the network does not take."""
        if stored in self.unread or stored.startswith(self.ignore):
            return None
        for prefix, official in self.prefixes:
            if stored.startswith(prefix):
                return self.keys.ours(official + stored.removeprefix(prefix))
        return None

    def stored(self, ours: str) -> str:
        """From a name in the network: the name that it gets in a file.

        Raises:
            ValueError: these names have no place for it.
        """
        official = self.keys.official(ours)
        for prefix, beginning in self.prefixes:
            if official.startswith(beginning):
                return prefix + official.removeprefix(beginning)
        raise ValueError(ours)


#: Names that a file and the network have alike.
AS_STORED = Names()
