"""Pure arithmetic on examinations: counts, UnF1, intervals, and what is measured beside UnF1."""
