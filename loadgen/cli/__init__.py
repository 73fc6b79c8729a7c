"""Commands of the command line, one module each. Only here and in `loadgen.cli.main` is anything printed."""
