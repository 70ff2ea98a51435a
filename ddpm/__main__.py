"""`python -m ddpm` is the `ddpm` command."""

import sys

from ddpm.commands import main

sys.exit(main())
