"""Object stores: what must happen in a process before it touches `s3://` or `gs://`."""

import ctypes

from components.errors import UserError


def is_remote(uri: str) -> bool:
    """Whether a place has a scheme (gs://, s3://) and so is not on a local disk."""
    return "://" in uri


def open_object_stores(*uris: str) -> None:
    """Registers `s3://` with TensorFlow and checks that every bucket can be reached.

    Args:
      uris: Paths of which those in an object store are checked; others are ignored.

    Raises:
      UserError: A bucket does not exist, or the credentials or the endpoint are wrong.
    """
    import tensorflow_io

    # tensorflow-io 0.37.1 aborts as a process that used s3:// ends ("pure virtual method
    # called"), after all work is done, and so hides its exit code. Ending in an exit handler of
    # the C library, before its static destructors run, keeps the code.
    c_library = ctypes.CDLL(None)
    c_library.on_exit(c_library._exit, None)
    del tensorflow_io
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
