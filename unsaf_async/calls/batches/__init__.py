"""Batches: many calls handed to a vendor at once, answered within a day, at half the price."""
