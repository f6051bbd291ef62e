"""`python -m panda_core COMMAND`."""

import sys

from panda_core.cli import main

sys.exit(main())
