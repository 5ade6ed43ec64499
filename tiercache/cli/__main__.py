"""`python -m tiercache.cli`: the command where no console script is installed."""

from . import main

main()
