"""One call: from a prompt to a reply, through cache, retries, budget and pace, to a provider."""
