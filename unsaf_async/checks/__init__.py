"""What can be looked at without a run: a provider, a judge, the cache."""
