"""Training: the loop for every model, its state and EMA, what a run writes and shows."""
