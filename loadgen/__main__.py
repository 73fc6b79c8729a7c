"""`python -m loadgen` is `loadgen`."""

from loadgen.cli.main import main

main()
