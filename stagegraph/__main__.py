"""`python -m stagegraph` is `stagegraph`."""

from stagegraph.cli import main

main()
