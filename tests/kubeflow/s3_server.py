"""A real S3 server (versitygw) on loopback, with a bucket and a user with few permissions."""

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import boto3

from tests.kubeflow.go_programs import go_program

VERSITYGW = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
BUCKET = "gatefold-test"
ROOT_KEY = {"ROOT_ACCESS_KEY": "root", "ROOT_SECRET_KEY": "root-secret"}
# All that docs/how-to/kubeflow.md asks for.
ACTIONS = ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"]


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Starts the server, which Go builds where it is missing, with the bucket `BUCKET`.

    Args:
      folder: An empty folder for its files.

    Yields:
      The environment of a user who may do `ACTIONS` and nothing else.
    """
    program = str(go_program(VERSITYGW))
    (folder / "disk").mkdir()
    (folder / "iam").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [
            *(program, "--port", f"127.0.0.1:{port}", "--region", "us-east-1", "--quiet"),
            *("--iam-dir", str(folder / "iam"), "posix", str(folder / "disk")),
        ],
        env={**os.environ, **ROOT_KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(port)
        user = {"access": "gatefold", "secret": "gatefold-secret"}
        subprocess.run(
            [
                *(program, "admin", "--access", "root", "--secret", "root-secret"),
                *("--endpoint-url", address, "create-user", "--role", "user"),
                *("--access", user["access"], "--secret", user["secret"]),
            ],
            check=True,
        )
        root = s3_client(address, "root", "root-secret")
        root.create_bucket(Bucket=BUCKET)
        root.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(_policy(user["access"])))
        yield {
            "AWS_ACCESS_KEY_ID": user["access"],
            "AWS_SECRET_ACCESS_KEY": user["secret"],
            "AWS_REGION": "us-east-1",
            "S3_ENDPOINT": address,
            "AWS_ENDPOINT_URL_S3": address,
        }
    finally:
        server.terminate()
        server.wait()


def s3_client(address: str, access: str, secret: str):
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id=access,
        aws_secret_access_key=secret,
    )


def _policy(user: str) -> dict[str, object]:
    resources = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": [user]},
                "Action": [action],
                "Resource": resources[:1] if action == "s3:ListBucket" else resources[1:],
            }
            for action in ACTIONS
        ],
    }


def _await(port: int) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError("the S3 server does not answer")
