"""The ways in: handler functions today; a loop of your own, and any language, to come."""
