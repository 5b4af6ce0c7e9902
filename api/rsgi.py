"""What the web server loads: the front door over this process's environment."""

from __future__ import annotations

import asyncio
import gc
import logging
import os

from api.front import Front
from ledger.bootstrap import Installation
from ledger.database import open_database
from ledger.processes import end_with_supervisor
from ledger.settings import from_process

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")


end_with_supervisor(os.environ)
_settings = from_process()
_installation = Installation(_settings, open_database(_settings))


class Application(Front):
    """The front door with the hook that the server calls when it stops."""

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer what is under way, then let go of the database."""
        loop.run_until_complete(self.close())
        _installation.close()


app = Application(_installation)

# What was loaded so far stays; and a parsed event is a hundred containers that die by reference
# count, so collecting after every seven of them would be a tenth of the work done.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 20)
