"""Tiny worlds with a known truth: drawn scenes, questions about them, and an oracle that knows what can be answered.

`scene` draws, `language` words, `questions` asks and knows the answer by construction, `oracle` reads any question back
and works the answer out from the scene, `describe` says what a scene shows. `charts` has the same parts for another world;
`worlds` makes each an object. `lessons` teaches the tiny models, `make` writes folders of a world.
"""
