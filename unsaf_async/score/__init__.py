"""Pure arithmetic on examinations: counts, UnF1, intervals, and every other measure of a run."""
