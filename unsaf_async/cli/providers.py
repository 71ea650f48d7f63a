"""`providers`: what can be measured."""

from __future__ import annotations

from typing import Annotated

import typer

from unsaf_async.cli.run import say_notices


def providers(
    json: Annotated[bool, typer.Option("--json", help="Print the profiles as JSON.")] = False,
) -> int:
    """List the models that have a profile. Price, limits, and whether the key is set."""
    from unsaf_async.providers.resolve import all_models

    listings = all_models()
    if json:
        import sys

        import orjson

        rows = [
            {
                **listing.profile.model_dump(mode="json"),
                "aliases": list(listing.aliases),
                "file": str(listing.file),
                "key_set": listing.key_set,
            }
            for listing in listings
        ]
        sys.stdout.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")
        return 0
    from unsaf_async.cli.render import print_providers

    print_providers(listings)
    say_notices(listing.profile for listing in listings)
    return 0
