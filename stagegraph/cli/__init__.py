"""The command line: `stagegraph run | rerun | validate | graph | stages | plugins | ...`, and plugins' own groups.

Results go to stdout, progress and messages to stderr. With `--json`, stdout is NDJSON: the events of a run, then one
envelope. Exit codes: 0 done, 1 the run failed, 2 wrong usage or an invalid graph, 3 something to install or download,
130 cancelled.
"""

from stagegraph.cli.app import main

__all__ = ["main"]
