"""The app that `eos relay` runs; its settings are in the environment."""

import os

from eos.doors.app import App

app = App(group=os.environ["EOS_NAMESPACE"])
app.relay(
    os.environ["EOS_OUTBOX"],
    poll=os.environ["EOS_OUTBOX_POLL"],
    keep=os.environ["EOS_OUTBOX_KEEP"],
)
