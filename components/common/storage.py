"""Object stores and local disks: opening stores, and errors for full disks."""

import ctypes
import errno
import functools
import shutil
from pathlib import Path

from components.common.errors import UserError, causes


def is_remote(uri: str) -> bool:
    """Whether a URI has a scheme (gs://, s3://), so that it is not on a local disk."""
    return "://" in uri


# Messages of a full disk in errors without errno: TensorFlow's and Beam's, a quota's, SQLite's.
_FULL = ("no space left on device", "disk quota exceeded", "database or disk is full")


def disk_full(error: BaseException | None, *folders: str) -> UserError | None:
    """Makes a `UserError` that names the full disk, if a full disk is the cause of an error.

    Args:
      error: The error; its causes are checked too.
      folders: Folders that were written to; those in an object store are ignored.

    Returns:
      An error that names the file's folder or the fullest of `folders`; None if the disk is not
      the cause.
    """
    for cause in causes(error):
        number, text = getattr(cause, "errno", None), str(cause).lower()
        if number in (errno.ENOSPC, errno.EDQUOT) or any(words in text for words in _FULL):
            file_name = getattr(cause, "filename", None)
            local = [folder for folder in folders if not is_remote(folder)]
            places = [str(Path(file_name).parent)] if isinstance(file_name, str) else local
            place = min(places, key=free_bytes, default="where this run writes")
            free = f" ({free_bytes(place) >> 20} MB are free)" if places else ""
            return UserError(
                f"the disk is full: {place}{free}. Make room or give another --output; a track of "
                "30 s takes 1.3 MB, and up to 0.8 MB more for each feature that the models read."
            )
    return None


def free_bytes(folder: str) -> int:
    """Free space, in bytes, of the disk that a local folder is on or would be made on."""
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def shortage(folder: str, size_bytes: int) -> str:
    """Says how much room is missing for `size_bytes`; "" if there is enough.

    Args:
      folder: Where to write; it need not exist yet. An object store always has room.
      size_bytes: Bytes to write.
    """
    if is_remote(folder) or free_bytes(folder) > size_bytes:
        return ""
    return (
        f"{folder} has {free_bytes(folder) / 1e6:.1f} MB free, and {size_bytes / 1e6:.1f} MB are "
        "needed"
    )


@functools.cache
def register_s3() -> None:
    """Registers `s3://` with TensorFlow, in a way that keeps the process's exit code.

    A process that used s3:// aborts as it ends ("pure virtual method called"), after all work is
    done: https://github.com/tensorflow/io/issues/2039. Ending in an exit handler of the C library,
    before its static destructors run, keeps the exit code.
    """
    import tensorflow_io  # noqa: F401

    c_library = ctypes.CDLL(None)
    c_library.on_exit(c_library._exit, None)


def open_object_stores(*uris: str) -> None:
    """Registers `s3://` with TensorFlow and checks that every bucket can be reached.

    Args:
      uris: Paths; those in an object store are checked, others are ignored.

    Raises:
      UserError: A bucket does not exist, or the credentials or the endpoint are wrong.
    """
    register_s3()
    for uri in uris:
        if uri.startswith("s3://"):
            _check_bucket(uri)


def _check_bucket(uri: str) -> None:
    """Asks for the bucket: TensorFlow reports a wrong key or endpoint as a missing file."""
    import boto3
    from botocore import config as botocore_config
    from botocore import exceptions

    bucket = uri.removeprefix("s3://").partition("/")[0]
    client = boto3.client(
        "s3",
        config=botocore_config.Config(
            connect_timeout=5, read_timeout=10, retries={"max_attempts": 2}
        ),
    )
    try:
        client.head_bucket(Bucket=bucket)
    except exceptions.ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        reason = {
            "404": "there is no such bucket",
            "403": "the credentials may not read it (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)",
        }.get(code, str(error))
        raise UserError(f"{uri}: {reason}") from error
    except exceptions.BotoCoreError as error:
        raise UserError(
            f"{uri}: {error} (set AWS_REGION and the credentials; for a server of your own also "
            "S3_ENDPOINT and AWS_ENDPOINT_URL_S3)"
        ) from error
