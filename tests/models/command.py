"""TensorFlow's own command, saved_model_cli, for tests that compare ours with it."""

from __future__ import annotations

import os
import sys
import tempfile


def saved_model_cli(arguments: list[str]) -> tuple[int, str]:
    """The exit status and the standard output of one command line.

    A forked child answers: importing TensorFlow takes seconds, and one run would leave its flags
    and graphs to the next.
    """
    from tensorflow.python.tools import saved_model_cli as program

    with tempfile.TemporaryFile() as printed:
        child = os.fork()
        if child == 0:
            os.dup2(printed.fileno(), 1)
            status = 1
            try:
                sys.argv = ["saved_model_cli", *arguments]
                program.main()
            except SystemExit as exit_status:
                status = exit_status.code if isinstance(exit_status.code, int) else 0
            except BaseException:
                pass
            finally:
                sys.stdout.flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        printed.seek(0)
        return os.waitstatus_to_exitcode(status), printed.read().decode()
