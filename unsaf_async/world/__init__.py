"""A tiny world with a known truth: drawn scenes, questions about them, and an oracle that knows what can be answered.

`scene` draws, `language` words, `questions` asks and knows the answer by construction, `oracle` reads any question back
and works the answer out from the scene, `lessons` teaches the tiny models, `make` writes folders of it.
"""
