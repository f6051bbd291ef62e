"""The command line. Exit codes: 0 done, 1 failed while running, 2 wrong usage. The only place that prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from panda_core.cli.arguments import parser
from panda_core.errors import PandaError, UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are one sentence on the standard error stream."""
    parsed = parser().parse_args(arguments)
    try:
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
