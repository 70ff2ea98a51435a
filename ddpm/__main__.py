"""Run the `ddpm` command by `python -m ddpm`."""

import sys

from ddpm.commands import main

sys.exit(main())
