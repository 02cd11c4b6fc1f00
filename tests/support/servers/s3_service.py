"""An S3 service on a real socket, whose objects anybody may read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer


def _readable(bucket: str) -> str:
    anybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [anybody]})


@contextmanager
def s3_service(bucket: str) -> Iterator[str]:
    """The URL of the service, which has one empty bucket. Programs and this process find it by the usual variables."""
    service = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    service.start()
    host, port = service.get_host_and_port()
    url = f"http://{host}:{port}"
    variables = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "a-test",
        "AWS_SECRET_ACCESS_KEY": "a-test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            s3 = boto3.client("s3")
            s3.create_bucket(Bucket=bucket)
            s3.put_bucket_policy(Bucket=bucket, Policy=_readable(bucket))
            yield url
    finally:
        urlopen(Request(f"{url}/moto-api/reset", method="POST")).close()  # objects outlive the socket
        service.stop()
