"""Which images are examined, which questions a labelled set brings, and what is sent of a picture."""
