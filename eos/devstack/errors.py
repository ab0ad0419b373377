"""What `eos dev` raises."""


class DevStackError(Exception):
    """The servers could not be started; the message has one clear line for each reason."""


class PortTakenError(DevStackError):
    """Another process took a port between choosing and using it: choose again."""
