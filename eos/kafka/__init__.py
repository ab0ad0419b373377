"""The one door to confluent-kafka. Adapters answer the ports and decide nothing."""
