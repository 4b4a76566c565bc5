"""boto3's upload_file from a pool of 15 threads: python3 upload.py FOLDER BUCKET PREFIX ENDPOINT."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

folder, bucket, prefix, endpoint = sys.argv[1:]
threads = 15
config = Config(max_pool_connections=10 * threads, s3={"addressing_style": "path"})
client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)


def paths():
    for parent, _, names in os.walk(folder):
        for name in names:
            yield os.path.join(parent, name)


def upload(path):
    client.upload_file(path, bucket, prefix + os.path.relpath(path, folder))


with ThreadPoolExecutor(threads) as pool:
    for _ in pool.map(upload, paths()):
        pass
