"""The tiny models: their sizes, their training, and the runtime that the `tiny` provider runs them on."""
