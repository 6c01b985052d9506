"""The pipeline's cloud on a laptop: MiniStack, plus a stand-in for Amazon Rekognition."""

from localcloud.cloud import LocalCloud, LocalCloudError

__all__ = ["LocalCloud", "LocalCloudError"]
