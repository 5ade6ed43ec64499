"""The requests of each cloud's protocol are understood, those in batches and uploads included."""

from __future__ import annotations

import pytest

from tests.infra.permissions import CONTAINERS, Need, Request, UnknownRequest, of_azure, of_gcs, of_s3

DELETES = b"<Delete><Object><Key>p/%31</Key></Object><Object><Key>&amp;</Key></Object></Delete>"
BATCH = b"--=\r\n\r\nDELETE /storage/v1/b/b/o/p%2Fk HTTP/1.1\r\n\r\n--=--"
UPLOAD = b'--=b\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n{"name": "p/k%2F1", "metadata": {}}\r\n--=b\r\n'


@pytest.mark.parametrize(
    ("request_", "needs"),
    [
        (Request("GET", "/b/p/k%2531"), [Need("s3:GetObject", "b", "p/k%31")]),
        (Request("HEAD", "/b/p/k"), [Need("s3:GetObject", "b", "p/k")]),
        (Request("PUT", "/b/p/k"), [Need("s3:PutObject", "b", "p/k")]),
        (
            Request("PUT", "/b/p/k", {"x-amz-tagging": "a=b"}),
            [Need("s3:PutObject", "b", "p/k"), Need("s3:PutObjectTagging", "b", "p/k")],
        ),
        (Request("DELETE", "/b/p/k"), [Need("s3:DeleteObject", "b", "p/k")]),
        (
            Request("POST", "/b?delete", body=DELETES),
            [Need("s3:DeleteObject", "b", "p/%31"), Need("s3:DeleteObject", "b", "&")],
        ),
        (Request("GET", "/b?list-type=2&prefix=p%2F&max-keys=1"), [Need("s3:ListBucket", "b", "p/")]),
        (Request("GET", "/b?lifecycle"), [Need("s3:GetLifecycleConfiguration", "b", "")]),
        (Request("DELETE", "/b/p/k?uploadId=1"), [Need("s3:AbortMultipartUpload", "b", "p/k")]),
    ],
)
def test_s3(request_, needs):
    assert list(of_s3(request_)) == needs


@pytest.mark.parametrize(
    ("request_", "needs"),
    [
        (Request("GET", "/download/storage/v1/b/b/o/p%2Fk?alt=media"), [Need("storage.objects.get", "b", "p/k")]),
        (Request("GET", "/storage/v1/b/b/o/p%2Fk%252F1"), [Need("storage.objects.get", "b", "p/k%2F1")]),
        (Request("GET", "/storage/v1/b/b/o?prefix=p%2F"), [Need("storage.objects.list", "b", "p/")]),
        (
            Request("POST", "/upload/storage/v1/b/b/o?uploadType=multipart", body=UPLOAD),
            [Need("storage.objects.create", "b", "p/k%2F1"), Need("storage.objects.delete", "b", "p/k%2F1")],
        ),
        (
            Request("POST", "/upload/storage/v1/b/b/o?uploadType=multipart&ifGenerationMatch=0", body=UPLOAD),
            [Need("storage.objects.create", "b", "p/k%2F1")],
        ),
        (Request("PUT", "/upload/storage/v1/b/b/o?uploadType=resumable&upload_id=1"), []),
        (Request("PATCH", "/storage/v1/b/b/o/k"), [Need("storage.objects.update", "b", "k")]),
        (
            Request("POST", "/batch/storage/v1", body=BATCH),
            [Need("storage.objects.delete", "b", "p/k")],
        ),
        (Request("GET", "/storage/v1/b/b"), [Need("storage.buckets.get", "b", "")]),
    ],
)
def test_cloud_storage(request_, needs):
    assert list(of_gcs(request_)) == needs


@pytest.mark.parametrize(
    ("request_", "needs"),
    [
        (Request("GET", "/account/c/p/k%2531", host="127.0.0.1"), [Need("blobs/read", "c", "p/k%31")]),
        (Request("GET", "/c?restype=container&comp=list&prefix=p%2F"), [Need("blobs/read", "c", "p/")]),
        (Request("PUT", "/c/p/k"), [Need("blobs/write", "c", "p/k")]),
        (Request("PUT", "/c/p/k?comp=blocklist"), [Need("blobs/write", "c", "p/k")]),
        (
            Request("PUT", "/c/k", {"x-ms-tags": "a=b"}),
            [Need("blobs/write", "c", "k"), Need("blobs/tags/write", "c", "k")],
        ),
        (Request("DELETE", "/c/k"), [Need("blobs/delete", "c", "k")]),
        (
            Request("POST", "/c?restype=container&comp=batch", body=b"--x\r\n\r\nDELETE /c/p/k? HTTP/1.1\r\n\r\n--x--"),
            [Need("blobs/delete", "c", "p/k")],
        ),
        (Request("GET", "/c?restype=container"), [Need("read", "c", "")]),
    ],
)
def test_blob_storage(request_, needs):
    assert list(of_azure(request_)) == [Need(CONTAINERS + need.permission, *need[1:]) for need in needs]


@pytest.mark.parametrize(
    ("of", "request_"),
    [
        (of_s3, Request("PUT", "/b?policy")),
        (of_s3, Request("GET", "/b/k?acl")),
        (of_gcs, Request("POST", "/storage/v1/b/b/o/k/rewriteTo/b/b/o/l")),
        (of_gcs, Request("GET", "/b/k")),
        (of_azure, Request("PUT", "/c/k?comp=snapshot")),
    ],
)
def test_what_is_not_understood_is_said(of, request_):
    with pytest.raises(UnknownRequest):
        list(of(request_))
