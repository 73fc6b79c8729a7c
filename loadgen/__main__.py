"""The program: `loadgen`, and `python -m loadgen`."""

import os
import sys


def main() -> None:
    """Run the command line; an interrupt at any moment is one line and exit code 130."""
    try:
        import resource

        # Python keeps a compiled module that it could write in part only, and then no command can load it any more.
        if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
            sys.dont_write_bytecode = True
        from loadgen.cli import interrupts

        interrupts.leave_at_once()
        from loadgen import crash
        from loadgen.cli.main import main as command_line
    except KeyboardInterrupt:
        os.write(2, b"loadgen: interrupted\n")
        os._exit(130)
    except (MemoryError, SystemError):  # the latter where it is the importer that has none
        os.write(2, b"loadgen: no memory to load it; raise the limits: ulimit -v unlimited; ulimit -d unlimited\n")
        os._exit(3)
    crash.watch_over()  # also over interrupts where Python can only print them
    interrupts.interrupt_once()
    code = 130
    try:
        code = command_line()
    except KeyboardInterrupt:  # between the command and the next line
        interrupts.seen()
        os.write(2, b"loadgen: interrupted\n")
    interrupts.over(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
