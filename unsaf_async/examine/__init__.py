"""One image: ASK, ANSWER, JUDGE, and what is measured beside the answers."""
