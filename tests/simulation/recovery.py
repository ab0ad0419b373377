"""Recovery, as whoever sees CLOSED does it: the ledger is rebuilt from the log."""
