"""Artifact stores by the scheme of a URL: `file://`, `gs://`, `s3://`, `artifactory://`."""
