"""One image: ASK, ANSWER, JUDGE, and the extra measures of each question."""
