data "aws_partition" "current" {}

locals {
  console = lookup({
    aws-cn     = "${var.aws_region}.console.amazonaws.cn"
    aws-us-gov = "${var.aws_region}.console.amazonaws-us-gov.com"
  }, data.aws_partition.current.partition, "${var.aws_region}.console.aws.amazon.com")

  # Of the metrics made from the logs.
  namespace = "PhotoAnalysis/${var.name}"
}
