"""`python -m stagegraph_ltx2.parallel FOLDER RANK`: a rank other than 0, as rank 0 starts it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from stagegraph_ltx2.parallel.worker import FAILED, take_part

if __name__ == "__main__":
    whole = take_part(Path(sys.argv[1]), int(sys.argv[2]))
    # Without the destructors of torch.distributed, which may wait for ranks that are gone.
    os._exit(0 if whole else FAILED)
