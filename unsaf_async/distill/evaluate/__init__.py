"""A student before and after training."""
