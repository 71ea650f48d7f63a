"""A simulated provider: the scripted model behind a socket, in three vendors' wire formats.

For testing clients against the real wire, and for rehearsing a paid run: it limits, fails and bills like a vendor, and
keeps an account of what it did. Nothing in the rest of the package depends on it.
"""

from __future__ import annotations

from unsaf_async.simulate.faults import BATCH_FAULTS, FAULTS
from unsaf_async.simulate.ledger import ServerLedger
from unsaf_async.simulate.server import LEDGER, Simulator, application, serve
from unsaf_async.simulate.settings import BatchRules, Lognormal, ServerLimits, Simulation

__all__ = [
    "BATCH_FAULTS",
    "FAULTS",
    "LEDGER",
    "BatchRules",
    "Lognormal",
    "ServerLedger",
    "ServerLimits",
    "Simulation",
    "Simulator",
    "application",
    "serve",
]
