"""What the services of the shop agree on: what things are called, and where the database is."""

import os

SHOP = os.environ.get("SHOP", "shop")
ORDERS = f"{SHOP}.orders"
PAYMENTS = f"{SHOP}.payments"
DATABASE = os.environ["SHOP_DATABASE"]

# A worker that is killed is missed after six seconds, and not after Kafka's forty-five.
QUICK = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1500}
