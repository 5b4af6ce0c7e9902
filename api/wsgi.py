"""What the web server loads: the application over this process's environment."""

from __future__ import annotations

import gc
import logging
import os

from api import create_app
from ledger.bootstrap import Installation
from ledger.database import open_database
from ledger.processes import end_with_supervisor
from ledger.settings import from_process

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")


end_with_supervisor(os.environ)
_settings = from_process()
app = create_app(Installation(_settings, open_database(_settings)))

# What was loaded so far stays; and a parsed event is a hundred containers that die by reference
# count, so collecting after every seven of them would be a tenth of the work done.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 20)
