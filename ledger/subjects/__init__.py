"""What people may demand about what is kept of them, and what the ledger owes them by itself."""
