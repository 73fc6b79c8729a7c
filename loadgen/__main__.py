"""The program: `loadgen`, and `python -m loadgen`."""

import os
import resource
import sys

# Python keeps a compiled module that it could write in part only, and then no command can load it any more.
if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
    sys.dont_write_bytecode = True


def main() -> None:
    """Run the command line; an interrupt at any moment is one line and exit code 130."""
    try:
        from loadgen.cli import interrupts

        interrupts.leave_at_once()
    except KeyboardInterrupt:
        os.write(2, b"loadgen: interrupted\n")
        os._exit(130)
    from loadgen.cli.main import main as command_line

    interrupts.interrupt_once()
    code = 130
    try:
        code = command_line()
    except KeyboardInterrupt:  # between the command and the next line
        os.write(2, b"loadgen: interrupted\n")
    interrupts.over(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
