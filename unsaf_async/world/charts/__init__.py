"""A second world: bar charts of nine months, of which some bars are missing and some are covered.

It has another vocabulary, other pictures and other questions than the first; how a question is read, what its kinds are, how
it is declined and how models are taught is shared.
"""
