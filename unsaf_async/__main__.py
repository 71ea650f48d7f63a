"""`python -m unsaf_async`."""

from unsaf_async.cli import main

main()
