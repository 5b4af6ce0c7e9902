"""What may be an id: Stripe's, or one that a business chose; never an address."""

from __future__ import annotations

import re

ID_MAX = 255
ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_\-.:]{0,254}"
is_id = re.compile(ID_PATTERN).fullmatch
