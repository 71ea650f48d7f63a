"""Images in S3 and what speaks its protocol (MinIO, Ceph, R2, Google's interoperable endpoint): found, and read one by one.

Credentials and the endpoint are those of the usual chain, which pyarrow's client knows: AWS_ACCESS_KEY_ID and the like,
AWS_ENDPOINT_URL, ~/.aws, a machine's role. None is ever read here, or recorded. An object's state (size and time) is that of the
listing, so that one which has changed since is noticed. Nothing is written, and no copy is kept.
"""

from __future__ import annotations

import hashlib
import io
import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from unsaf_async.errors import UserError
from unsaf_async.records import ImagePart
from unsaf_async.text import install_extra, one_line, printable, shorten, shorten_at_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SCHEME = "s3://"

_HEADER_BYTES = 64 << 10
"""A picture's header is read in pieces of this size: one request in nearly all cases."""

_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""


class ObjectError(Exception):
    """Why an object cannot be read, in one line without its address."""


def is_object(address: str) -> bool:
    """Whether something names an object, or a folder of objects, and no file.

    Args:
        address: What a user gave.

    Returns:
        Whether it begins with "s3://".
    """
    return address.startswith(SCHEME)


def find_objects(address: str, suffixes: Sequence[str]) -> Iterator[tuple[str, ImagePart]]:
    """The pictures below an address, sorted by name. Blocks while the store is asked.

    Args:
        address: "s3://BUCKET/FOLDER", with all its subfolders, or one object.
        suffixes: The endings, in lower case, of the names that are taken from a folder.

    Yields:
        (name, part): the name below the folder, with slashes, and where the picture is. Those in hidden folders are left out.

    Raises:
        UserError: The address is none, nothing is there, or the store cannot be asked.
    """
    bucket, key = _parts(address)
    try:
        from pyarrow.fs import FileSelector, FileType

        store = _store(bucket)
        path = f"{bucket}/{key}".rstrip("/")
        one = store.get_file_info(path)
        if one.type == FileType.File:
            yield one.base_name, _part(one)
            return
        found = store.get_file_info(FileSelector(path, recursive=True)) if one.type == FileType.Directory else []
    except ModuleNotFoundError:
        raise UserError(
            f": {address}: pyarrow, which reads S3, is not installed; {install_extra('parquet')}", field="images"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(
            f": {address} cannot be listed ({_why(error)}); check the name, the credentials and AWS_ENDPOINT_URL",
            field="images",
        ) from None
    if one.type != FileType.Directory:
        raise UserError(f": {address} does not exist; check the bucket and the name", field="images")
    distinct = {info.path.removeprefix(f"{path}/"): info for info in found if info.type == FileType.File}
    named = sorted(distinct.items())
    pictures = [
        (name, info)
        for name, info in named
        if name.lower().endswith(tuple(suffixes)) and not any(part.startswith(".") for part in name.split("/"))
    ]
    if not pictures:
        held = "one object" if len(named) == 1 else f"{len(named)} objects"
        what = f"{held}, but no image" if named else "nothing"
        raise UserError(
            f": {address} holds {what}; looked for {' '.join(suffixes)}; of a list, download it and give its path",
            field="images",
        )
    for name, info in pictures:
        yield name, _part(info)


def read_object(part: ImagePart, limit: int) -> bytes:
    """An object's bytes. Blocks.

    Args:
        part: Where it is.
        limit: Most bytes that are read, >= 1.

    Returns:
        The bytes, one more than `limit` at most.

    Raises:
        ObjectError: It is missing, has changed, or cannot be read.
    """
    try:
        with _opened(part) as file:
            return cast("bytes", file.read(limit + 1))
    except ModuleNotFoundError:
        raise ObjectError(f"pyarrow, which reads S3, is not installed; {install_extra('parquet')}") from None
    except (OSError, ValueError, KeyError) as error:
        raise ObjectError(f"the object cannot be read ({_why(error)})") from None


def open_object(part: ImagePart) -> BinaryIO:
    """An object to read the header of: what is not asked for is not fetched. Blocks.

    Args:
        part: Where it is.

    Returns:
        A file, from its beginning; whoever reads it may get an OSError.

    Raises:
        ObjectError: It is missing, has changed, or cannot be opened.
    """
    try:
        return cast("BinaryIO", io.BufferedReader(_opened(part), _HEADER_BYTES))
    except ModuleNotFoundError:
        raise ObjectError(f"pyarrow, which reads S3, is not installed; {install_extra('parquet')}") from None
    except (OSError, ValueError, KeyError) as error:
        raise ObjectError(f"the object cannot be read ({_why(error)})") from None


def _opened(part: ImagePart) -> Any:
    bucket, key = _parts(part.url)
    try:
        file = _store(bucket).open_input_file(f"{bucket}/{key}")
    except FileNotFoundError:
        raise ObjectError("the object is missing") from None
    modified = datetime.fromisoformat(file.metadata()["Last-Modified"].decode())
    if _state(file.size(), modified.timestamp()) != part.file_state:
        file.close()
        raise ObjectError("the object has changed since it was listed; start a new run")
    return file


def _part(info: Any) -> ImagePart:
    state = _state(info.size, info.mtime_ns / 1e9)
    return ImagePart(kind="object", url=f"{SCHEME}{info.path}", start=0, length=info.size, file_state=state)


def _state(size: int, modified_s: float) -> str:
    """Of both, since a store's listing has the time to the millisecond, and its objects to the second."""
    return hashlib.sha256(f"{size}:{int(modified_s)}".encode()).hexdigest()[:16]


def _parts(address: str) -> tuple[str, str]:
    found = _ADDRESS.fullmatch(address)
    if found is None:
        shown = shorten(printable(one_line(address)), 80)
        raise UserError(f": {shown} is no address of objects; give s3://BUCKET/FOLDER", field="images")
    return found[1], found[2] or ""


@lru_cache(maxsize=8)
def _store(bucket: str) -> Any:
    """The client of a bucket, which is safe to use in several threads. It finds the bucket's region and the credentials."""
    from pyarrow.fs import FileSystem

    return FileSystem.from_uri(f"{SCHEME}{bucket}")[0]


def _why(error: Exception) -> str:
    """What a store's client says, in words; of what is not known, its own words without the code that stands before them."""
    said = printable(one_line(str(error)))
    found = _AWS.search(said)
    if found is None:
        return shorten_at_word(said, 200) or "no reason is given"
    code, details = found.groups()
    curl = re.match(r"curlCode: (\d+), ", details)
    words = _NO_CONNECTION.get(int(curl[1]), "no connection to the store") if curl else _STORE_SAYS.get(code)
    return words or f"{code.lower().replace('_', ' ')}: {shorten_at_word(details, 160)}".rstrip(": ")


_AWS = re.compile(r"AWS Error ([A-Z_]+)(?: \[[^]]*\])? during \w+ operation: ?(.*)")

_NO_CONNECTION = {
    6: "the store's name is not known to the network",
    7: "nothing answers at the store's address",
    28: "the store does not answer in time",
    35: "no secure connection to the store",
    60: "the store's certificate is not trusted",
}
"""Why there is no connection, by curl's number for it (https://curl.se/libcurl/c/libcurl-errors.html)."""

_STORE_SAYS = {
    "ACCESS_DENIED": "the store denies access (403)",
    "NO_SUCH_BUCKET": "there is no such bucket",
    "INVALID_ACCESS_KEY_ID": "the store does not know the access key",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is not that of the access key",
    "REQUEST_TIME_TOO_SKEWED": "this machine's clock is wrong",
    "SLOW_DOWN": "the store asks for patience",
    "THROTTLING": "the store asks for patience",
    "SERVICE_UNAVAILABLE": "the store is not available",
    "INTERNAL_FAILURE": "the store failed",
}
"""What a store answers, in words, by the name of the error."""
