data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  console = lookup({
    aws-cn     = "${data.aws_region.current.name}.console.amazonaws.cn"
    aws-us-gov = "${data.aws_region.current.name}.console.amazonaws-us-gov.com"
  }, data.aws_partition.current.partition, "${data.aws_region.current.name}.console.aws.amazon.com")

  # Of the metrics made from the logs.
  namespace = "PhotoAnalysis/${var.name}"
}
