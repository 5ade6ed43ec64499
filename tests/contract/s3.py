"""What the contract does to S3 beside the backend, whichever server speaks it: `client` and `bucket` are the test's."""

from __future__ import annotations

import json
from contextlib import contextmanager

from botocore.exceptions import ClientError

from tiercache.testing import Answer, ObjectStoreHooks, RawObject
from tiercache_s3 import S3Backend

DENIED = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>AccessDenied</Code><Message>User is not authorized to perform: s3:ListBucket on confidential</Message>
<RequestId>4442587FB7D0A2F9</RequestId><HostId>host</HostId></Error>"""


class S3Hooks(ObjectStoreHooks):
    # S3's own answer to a read without s3:ListBucket. The servers say 404, or deny everything.
    denied_answer = Answer(403, {"Content-Type": "application/xml", "x-amz-request-id": "4442587FB7D0A2F9"}, DENIED)
    read_permission = "s3:GetObject"
    list_permission = "s3:ListBucket"

    def raw_object(self, backend, name):
        try:
            answer = self.client.head_object(Bucket=self.bucket, Key=name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "404":
                raise
            return None
        return RawObject(answer["ContentType"], answer["Metadata"], answer.get("StorageClass", "STANDARD"))

    def raw_body(self, backend, name):
        try:
            return self.client.get_object(Bucket=self.bucket, Key=name)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None

    def raw_put_object(self, backend, name, data):
        self.client.put_object(Bucket=self.bucket, Key=name, Body=data)

    def raw_names(self, backend, start):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def archive(self, backend, key):
        name = self.name_of(backend, key)
        source = {"Bucket": self.bucket, "Key": name}
        self.client.copy_object(Bucket=self.bucket, Key=name, CopySource=source, StorageClass="GLACIER")

    def backend_at(self, url):
        return S3Backend(
            "bucket", endpoint_url=url, access_key_id="key", secret_access_key="secret", region="us-east-1", timeout=30
        )

    @contextmanager
    def protected(self, backend, key):
        name = self.name_of(backend, key)
        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:DeleteObject",
            "Resource": f"arn:aws:s3:::{self.bucket}/{name}",
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self.client.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(policy))
        try:
            yield
        finally:
            self.client.delete_bucket_policy(Bucket=self.bucket)
