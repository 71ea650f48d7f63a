"""Who can be called, and at what price. The data itself lies in the folder providers/."""
