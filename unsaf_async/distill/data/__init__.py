"""Teacher data: finished runs of a teacher become fine-tuning data for a small student."""
