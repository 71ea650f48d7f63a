"""Many images: a run from its settings to its score."""
