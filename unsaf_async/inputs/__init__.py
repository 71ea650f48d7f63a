"""Which images are examined, and which questions are given."""
