"""`python -m ddpm` is the `ddpm` command."""

import sys

from ddpm.command_line import main

sys.exit(main())
