"""The eos workers: the whole application is a handler."""

import eos
from eos.demo.charges import charge
from eos.demo.names import MEMBERSHIP, Names

_names = Names.of_environment()

app = eos.App(**_names.settings(MEMBERSHIP))


@app.step(_names.orders, to=_names.charges)
def charge_order(order: eos.Record) -> eos.Send:
    """Charge an order, once."""
    return eos.Send(charge(order.value, order.partition, order.offset).to_bytes())
