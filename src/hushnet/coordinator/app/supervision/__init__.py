"""`hush coordinator serve --workers N`: one process that starts, watches and stops the workers, and does no request's work.

Nouns: supervisor, child (a worker as the supervisor sees it), order (what a worker is told at its start), report (what it
says back), reservation (a port kept while workers come and go). Part of `app`.
"""

from hushnet.coordinator.app.supervision.supervisor import Supervisor
from hushnet.coordinator.app.supervision.worker import work

__all__ = ["Supervisor", "work"]
