"""One run on many processes or machines: workers examine the images, the process that was started keeps all accounts."""
