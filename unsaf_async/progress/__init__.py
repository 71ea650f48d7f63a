"""A run while it goes on, for people: on a terminal, in a notebook, in a log."""
