"""What is looked at beside a run: a provider, a judge, the cache."""
