"""Write the published schemas into a folder."""

import sys
from pathlib import Path

from stagegraph.schema import write

write(Path(sys.argv[1]))
