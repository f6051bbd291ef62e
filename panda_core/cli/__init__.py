"""The command line. Exit codes: 0 done, 1 failed while running, 2 wrong usage. The only place that prints."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from panda_core.errors import PandaError, UsageError
from panda_core.threads import thread_settings


def print_any_name() -> None:
    """Print every name, wherever the output goes: a character that a stream cannot encode is escaped, not refused.

    A redirected stream of Windows, or a terminal in another locale, is not UTF-8; one name of another script would
    end a table after the rows before it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are one sentence on the standard error stream."""
    os.environ.update(thread_settings())
    from panda_core.cli.arguments import parser  # which imports NumPy, that reads them

    print_any_name()
    given = list(sys.argv[1:] if arguments is None else arguments)
    parsed = parser().parse_args(given)
    try:
        _check_not_empty(given)
        return int(parsed.command(parsed))
    except UsageError as error:
        print(f"panda_core: {error}", file=sys.stderr)
        return 2
    except PandaError as error:
        print(f"panda_core: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output (`| head`) has gone; there is nobody left to tell.
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        print("panda_core: interrupted.", file=sys.stderr)
        return 1


def _check_not_empty(given: Sequence[str]) -> None:
    """Raise `UsageError` for an empty argument: as a path it would mean the current folder, as a flag nothing."""
    for place, text in enumerate(given):
        if not text or (text.startswith("--") and text.endswith("=")):
            shown = text or " ".join([*given[max(0, place - 1) : place], '""'])
            raise UsageError(f"`{shown}` is empty: perhaps a variable without a value. Give one, or leave it out.")
