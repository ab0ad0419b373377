"""What keeps the ledger right: recovery and the window."""
