"""An environment's photos on one page: what is read, confirmed first, or missing."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from operations import gallery
from operations.errors import UserError
from tests.unit.pipeline import BUCKET, REGION, TABLE, client, make_table

if TYPE_CHECKING:
    from pathlib import Path


def picture(colour: str) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (120, 90), colour).save(made, "JPEG")
    return made.getvalue()


class Bucket:
    """An environment with a versioned bucket and its records; `settings` as in its tfvars."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.s3: Any = client("s3")
        self.dynamodb: Any = client("dynamodb")
        self.s3.create_bucket(Bucket=BUCKET)
        self.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        make_table(self.dynamodb)
        self.records: list[dict[str, Any]] = []
        clients = {"s3": self.s3, "dynamodb": self.dynamodb}
        self.deployment: Any = SimpleNamespace(
            table=TABLE,
            client=clients.__getitem__,
            environment=SimpleNamespace(name="dev", region=REGION, settings=settings),
        )

    def upload(self, key: str, body: bytes, *, version: bool = True, **others: Any) -> dict[str, Any]:
        stored = self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        etag = stored["ETag"].strip('"')
        record = {
            "ImageID": f"{key}@{etag}",
            "Bucket": BUCKET,
            "Key": key,
            "ETag": etag,
            "Outcome": "no_face",
        }
        record |= {"VersionId": stored["VersionId"]} if version else {}
        item = {name: {"S": value} for name, value in record.items()}
        item["Size"] = {"N": str(others.get("size", len(body)))}
        self.dynamodb.put_item(TableName=TABLE, Item=item)
        # What an index holds of it.
        self.records.append({"ImageID": record["ImageID"]})
        return record

    def page(self, path: Path, *, confirmed: bool = False) -> str:
        said = gallery.write(self.deployment, path, self.records, confirmed=confirmed)
        return said + "\n" + path.read_text("utf-8")


@pytest.fixture
def bucket(aws: None) -> Bucket:  # noqa: ARG001
    return Bucket({})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "photos.html"


@pytest.mark.parametrize("version", [True, False], ids=["versioned", "without a version"])
def test_each_record_has_the_picture_of_its_own_upload(bucket: Bucket, path: Path, version: bool) -> None:
    bucket.upload("a.jpg", picture("red"), version=version)
    bucket.upload("a.jpg", picture("blue"), version=version)
    shown = bucket.page(path)
    assert "Wrote 2 photos to " in shown
    # Without a version only the newest of a key can be had, and only while it is the recorded one.
    assert shown.count("data:image/jpeg") == (2 if version else 1)
    assert shown.count("The photo was replaced since") == (0 if version else 1)


def test_what_is_gone_refused_too_large_or_no_picture_has_its_place_and_a_reason(
    bucket: Bucket, path: Path
) -> None:
    gone = bucket.upload("gone.jpg", picture("red"))
    bucket.s3.delete_object(Bucket=BUCKET, Key="gone.jpg", VersionId=gone["VersionId"])
    bucket.upload("text.jpg", b"no picture")
    bucket.upload("film.jpg", b"", size=gallery.MAX_BYTES + 1)
    shown = bucket.page(path)
    for reason in ("The photo is gone", "Not a picture that can be shown", "Too large to show: 50.0 MB"):
        assert reason in shown
    assert "Wrote 3 photos" in shown


def test_more_than_a_hundred_photos_are_read_only_when_confirmed(
    bucket: Bucket, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "MAX_UNCONFIRMED", 2)
    body = picture("red")
    for number in range(3):
        bucket.upload(f"{number}.jpg", body)
    with pytest.raises(
        UserError,
        match=r"^This would read 3 photos, 2\.\d kB, from S3; confirm it with (--confirm|CONFIRM=1)\.$",
    ):
        bucket.page(path)
    assert not path.exists()
    assert "Wrote 3 photos" in bucket.page(path, confirmed=True)


@pytest.mark.usefixtures("aws")
def test_where_photos_are_to_be_gone_after_a_time_a_copy_is_made_only_when_confirmed(path: Path) -> None:
    bucket = Bucket({"photo_retention_days": 365})
    bucket.upload("a.jpg", picture("red"))
    with pytest.raises(UserError, match="keep thumbnails of what is to be gone after 365 days; confirm it"):
        bucket.page(path)
    assert "Wrote 1 photo to" in bucket.page(path, confirmed=True)


@pytest.mark.parametrize(
    ("name", "reason"), [("a.csv", r"does not end in \.html"), ("none/a.html", "No such file or directory")]
)
def test_a_file_that_cannot_be_written_is_refused_before_a_photo_is_read(
    bucket: Bucket, tmp_path: Path, name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.upload("a.jpg", picture("red"))
    monkeypatch.setattr(bucket.s3, "get_object", None)
    with pytest.raises(UserError, match=reason):
        bucket.page(tmp_path / name)
    made = tmp_path / "a.html"
    made.touch()
    with pytest.raises(UserError, match=r"cannot be written \(File exists\)"):
        bucket.page(made)
