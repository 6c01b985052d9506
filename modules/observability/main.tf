data "aws_partition" "current" {}

locals {
  # Without formats to convert there is no ConvertImage.
  functions = { for key, function in var.functions : key => function if function != null }
  labels    = { convert_image = "ConvertImage", process_image = "ProcessImage", send_notification = "SendNotification" }

  console = lookup({
    aws-cn     = "${var.aws_region}.console.amazonaws.cn"
    aws-us-gov = "${var.aws_region}.console.amazonaws-us-gov.com"
  }, data.aws_partition.current.partition, "${var.aws_region}.console.aws.amazon.com")

  # The metrics made from the logs.
  namespace = "PhotoAnalysis/${var.name}"
}
