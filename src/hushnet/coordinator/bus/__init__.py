"""Several workers of one coordinator: each holds some of the providers' sockets, and all of them serve every request.

Nouns: worker (one process with both listeners), mesh (a Unix socket between every two), peer (the other end of one), frame,
crossing (attempts of this worker elsewhere), host (attempts from elsewhere here), claim (of an envelope), question.
Place on the map: beside `api` and `storage`, above `serving`; `app` joins it. With one process there is `Alone`.
"""

from hushnet.coordinator.bus.bus import Alone, Bus, News, WorkerBus
from hushnet.coordinator.bus.limits import MeshLimits

__all__ = ["Alone", "Bus", "MeshLimits", "News", "WorkerBus"]
