locals {
  package_name  = basename(var.source_dir)
  functions_dir = dirname(var.source_dir)
  # The neighbouring packages that go into its zip, one per line.
  packages = concat([local.package_name], fileexists("${var.source_dir}/packages.txt") ? split("\n", trimspace(file("${var.source_dir}/packages.txt"))) : [])
  sources = flatten([
    for package in local.packages : [for file in sort(fileset("${local.functions_dir}/${package}", "**/*.py")) : "${package}/${file}"]
  ])
  # What wheels are bundled for: the function's runtime and processor, not the builder's.
  target = var.bundle_wheels ? "${var.runtime}-${var.architecture}" : ""
  lock   = var.bundle_wheels ? "requirements.lock:${filesha256("${var.source_dir}/requirements.lock")}:${local.target}\n" : ""
  # Computed from the sources, so a plan needs no zip and every machine plans the same. tools/package.py computes the same.
  hash = substr(sha256(join("", concat([for file in local.sources : "${file}:${filesha256("${local.functions_dir}/${file}")}\n"], [local.lock]))), 0, 16)
  zip  = "${var.build_dir}/${join("-", compact([local.package_name, local.target, local.hash]))}.zip"
}

resource "terraform_data" "zip" {
  # The zip is read when the code, the architecture or the whole function changes; the log group's ARN is a name, region
  # and account of the function's. docs/decisions/0008-who-builds-a-missing-zip.md
  triggers_replace = [local.hash, var.architecture, aws_cloudwatch_log_group.function.arn]
  # Kept with the zip until it is rebuilt: another commit alone changes nothing. docs/decisions/0017-a-version-names-its-commit.md
  input = var.commit

  lifecycle {
    ignore_changes = [input]
  }

  provisioner "local-exec" {
    command = "python3 '${path.module}/../../tools/package.py' '${var.source_dir}' '${local.zip}'"
  }
}

resource "aws_lambda_function" "function" {
  #checkov:skip=CKV_AWS_116:Only asynchronous invocations use a function's dead-letter queue; the workflow invokes synchronously, retries, and parks failed events
  #checkov:skip=CKV_AWS_117:Calls AWS APIs only, over TLS with IAM; a VPC would add endpoints to run and reach nothing private
  #checkov:skip=CKV_AWS_272:Zips are byte-reproducible from the reviewed sources and named by their hash; anyone who could deploy another could also change the signing profile
  function_name = var.name
  # A version keeps the description it was published with: `make rollback` shows which sources each one is.
  description                    = "${var.description} (${join(", ", compact(["code ${local.hash}", try("commit ${terraform_data.zip.output}", "")]))})"
  role                           = aws_iam_role.function.arn
  runtime                        = var.runtime
  architectures                  = [var.architecture]
  handler                        = "${local.package_name}.handler.handler"
  filename                       = local.zip
  source_code_hash               = local.hash
  kms_key_arn                    = var.key_arn
  publish                        = true
  memory_size                    = var.memory_size
  timeout                        = var.timeout
  reserved_concurrent_executions = var.reserved_concurrency == null ? -1 : var.reserved_concurrency

  dynamic "environment" {
    for_each = length(var.environment_variables) == 0 ? [] : [var.environment_variables]

    content {
      variables = environment.value
    }
  }

  logging_config {
    log_format            = "JSON"
    log_group             = aws_cloudwatch_log_group.function.name
    application_log_level = var.log_level
    system_log_level      = "INFO"
  }

  tracing_config {
    mode = "Active"
  }

  depends_on = [aws_iam_role_policy.function, terraform_data.zip]
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  description      = "The version the workflow invokes"
  function_name    = aws_lambda_function.function.function_name
  function_version = aws_lambda_function.function.version

  lifecycle {
    # An alias is deleted with its function; Terraform would try to update it in the new one.
    replace_triggered_by = [aws_lambda_function.function.arn]
  }
}

resource "aws_cloudwatch_log_group" "function" {
  #checkov:skip=CKV_AWS_338:Each environment sets how long logs are kept; less than a year where they can identify a person
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}
