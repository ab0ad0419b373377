"""Worker processes: started, watched, restarted under the same slot, and stopped in order.

One Python process handles on one core, so `eos run --workers N` starts N of them. A *slot* is
a worker's number, from 0. It is part of its transactional id, so a worker that is restarted
takes its predecessor's place and ends what that one left open.
"""

from eos.workers.contract import Workable
from eos.workers.foreground import run
from eos.workers.pool import Exited, Pool, PoolEvent, Started

__all__ = ["Exited", "Pool", "PoolEvent", "Started", "Workable", "run"]
