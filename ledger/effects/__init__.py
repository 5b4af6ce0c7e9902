"""Effects: what reaches the outside, each kind performed in one place and nowhere else."""
