"""The sidecar that `eos sidecar` runs; what it is told is in the environment."""

import os

from eos.cli.sidecar import FILE
from eos.doors.sidecar.config.reading import read
from eos.doors.sidecar.sidecar import Sidecar

app = Sidecar(read(os.environ.get(FILE) or None, os.environ))
