"""Who may come in, and what they may do: people with roles, programs with tokens."""
