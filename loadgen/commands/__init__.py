"""Commands of the command line, one module each. Only here and in `loadgen.cli` is anything printed."""
