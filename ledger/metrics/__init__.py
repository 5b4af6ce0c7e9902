"""Questions about the numbers: metrics by period, what explains them, restatements."""
