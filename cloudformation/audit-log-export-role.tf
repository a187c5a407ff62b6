# The IAM role that delivers your audit logs into your own S3 bucket, for accounts that are managed with Terraform or
# OpenTofu. It can add objects under one folder of one bucket and do nothing else. It can't read, list or delete.
# audit-log-export-role.yaml of the same version makes a role with the same trust and permissions, and the same bucket, alarm
# and table.
#
# TemplateVersion: 1.3.0
#
# Put this file into its own folder and apply that, or use it as a module. Then paste the output role_arn into your
# provider's connector page. Terraform asks for variables without a default.

variable "bucket_name" {
  description = "The bucket that receives the audit logs. It must exist, unless create_bucket is true."
  type        = string

  validation {
    condition = can(regex("^[A-Za-z0-9._-]{3,255}$", var.bucket_name)) && !can(regex(
      "^(xn--|sthree-|amzn-s3-demo-)|(-s3alias|--ol-s3|[.]mrap|--x-s3|--xa-s3|--op-s3|--table-s3)$", var.bucket_name
    )) && !can(regex("^([0-9]+[.]){3}[0-9]+$", var.bucket_name))
    error_message = "The bucket_name must be the bare name of a general purpose bucket: no s3://, no ARN, no folder."
  }
}

variable "bucket_prefix" {
  description = "Optional. The folder in which the folder audit-logs lies, e.g. security/saas. Blank means the top of the bucket."
  type        = string
  default     = ""

  # This pattern excludes wildcards and policy variables, so the prefix is safe in a policy's Resource.
  validation {
    condition = can(regex("^([A-Za-z0-9!_.'()-]+(/[A-Za-z0-9!_.'()-]+)*)?$", var.bucket_prefix)) && !can(regex(
      "(^|/)[.]{1,2}(/|$)", var.bucket_prefix
    )) && length(var.bucket_prefix) <= 256
    error_message = "The bucket_prefix may hold up to 256 ASCII letters, digits and !_.'()/-, and neither empty folders nor . or .. as folders."
  }
}

variable "kms_key_arn" {
  description = "Optional. The customer managed KMS key that encrypts the bucket, in the bucket's region."
  type        = string
  default     = ""

  # A policy with an alias grants nothing, since KMS authorizes by the key.
  validation {
    condition     = can(regex("^(arn:aws(-[a-z]+)*:kms:[a-z0-9-]+:[0-9]{12}:key/(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}))?$", var.kms_key_arn))
    error_message = "The kms_key_arn must be blank or the ARN of a key, not of an alias."
  }
}

variable "create_bucket" {
  description = "Whether to create the bucket, private, versioned, encrypted and TLS only. False uses an existing bucket."
  type        = bool
  default     = false
}

variable "bucket_region" {
  description = "Optional, with create_bucket. The region that the bucket must be created in, to check that of the AWS provider."
  type        = string
  default     = null
}

variable "tenant_id" {
  description = "Your ID at the provider. It limits the role to the folder audit-logs/tenant=<ID>. Blank allows all of audit-logs."
  type        = string
  default     = ""

  # The pattern of the provider's IDs. It excludes wildcards, policy variables and slashes.
  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{0,64}$", var.tenant_id))
    error_message = "The tenant_id must be copied whole from the provider's connector page."
  }
}

variable "external_id" {
  description = "The external ID that your provider shows beside the connector. It is unique to you."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_+=,.@:/-]+$", var.external_id))
    error_message = "The external_id must be copied whole from the provider's connector page, without spaces around it."
  }
}

variable "provider_account_id" {
  description = "The AWS account from which your provider delivers."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.provider_account_id))
    error_message = "The provider_account_id must be the provider's account ID, 12 digits without dashes."
  }
}

variable "provider_role_name" {
  description = "The only role of the provider's account that may assume yours."
  type        = string
  default     = "audit-log-exporter"

  validation {
    condition     = can(regex("^[A-Za-z0-9_+=,.@-]{1,64}$", var.provider_role_name))
    error_message = "The provider_role_name must be a role's name, not its ARN."
  }
}

variable "alarm_email" {
  description = "Optional. The address that gets an email when no file of audit logs has arrived for too long. Blank makes no alarm."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([^@\\s]+@[^@\\s]+)?$", var.alarm_email)) && length(var.alarm_email) <= 254
    error_message = "The alarm_email must be blank or an email address."
  }
}

variable "alarm_after_hours" {
  description = "Without effect if alarm_email is blank. At least the hours between two exports plus 3: a file arrives with each export."
  type        = number
  default     = 4

  # CloudWatch looks back at most seven days.
  validation {
    condition     = var.alarm_after_hours >= 2 && var.alarm_after_hours <= 168 && floor(var.alarm_after_hours) == var.alarm_after_hours
    error_message = "The alarm_after_hours must be a whole number of hours from 2 to 168."
  }
}

variable "create_glue_table" {
  description = "Whether to create a database and a table in AWS Glue, so that Athena can query the files. They must be NDJSON of the native schema."
  type        = bool
  default     = false
}

variable "partition" {
  description = "The AWS partition of both accounts, e.g. aws-cn (China), aws-eusc (European Sovereign Cloud) or aws-us-gov (GovCloud)."
  type        = string
  default     = "aws"

  validation {
    condition     = contains(["aws", "aws-cn", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-us-gov"], var.partition)
    error_message = "The partition must be that of both accounts, e.g. aws."
  }
}

variable "permissions_boundary_arn" {
  description = "Optional. For accounts in which every role must have a permissions boundary."
  type        = string
  default     = null
}

locals {
  provider_account = "arn:${var.partition}:iam::${var.provider_account_id}"
  bucket           = "arn:${var.partition}:s3:::${var.bucket_name}"
  # With the slash before the star, the folder "tenant=acme" doesn't include "tenant=acme-other/".
  prefix  = var.bucket_prefix == "" ? "" : "${var.bucket_prefix}/"
  tenant  = var.tenant_id == "" ? "" : "tenant=${var.tenant_id}/"
  objects = "${local.bucket}/${local.prefix}audit-logs/${local.tenant}*"
  alarms  = var.alarm_email == "" ? 0 : 1
  tables  = var.create_glue_table ? 1 : 0
  # How the names of AWS's endpoints end.
  url_suffixes = {
    aws        = "amazonaws.com"
    aws-cn     = "amazonaws.com.cn"
    aws-eusc   = "amazonaws.eu"
    aws-iso    = "c2s.ic.gov"
    aws-iso-b  = "sc2s.sgov.gov"
    aws-iso-e  = "cloud.adc-e.uk"
    aws-iso-f  = "csp.hci.ic.gov"
    aws-us-gov = "amazonaws.com"
  }
  url_suffix = local.url_suffixes[var.partition]
}

resource "aws_iam_role" "audit_log_export" {
  name_prefix          = "audit-log-export-"
  description          = "Delivers audit logs into S3 on behalf of the provider. Write only."
  max_session_duration = 3600
  permissions_boundary = var.permissions_boundary_arn
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid    = "OnlyTheProvidersExporterWithYourExternalId"
      Effect = "Allow"
      # The condition narrows the account to one role. IAM stores a role in the principal by its unique ID, and would match
      # nothing if the provider recreated its role.
      Principal = { AWS = "${local.provider_account}:root" }
      Action    = "sts:AssumeRole"
      Condition = {
        # The provider serves many customers with that role. The external ID prevents that another customer makes the
        # provider use this role (the confused deputy).
        StringEquals = { "sts:ExternalId" = var.external_id }
        ArnEquals    = { "aws:PrincipalArn" = "${local.provider_account}:role/${var.provider_role_name}" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "audit_log_export" {
  name = "deliver-audit-logs"
  role = aws_iam_role.audit_log_export.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid    = "AddObjects"
        Effect = "Allow"
        # s3:AbortMultipartUpload removes the parts of failed uploads, which S3 would bill.
        Action   = ["s3:PutObject", "s3:AbortMultipartUpload"]
        Resource = local.objects
      }],
      [for key in [var.kms_key_arn] : {
        Sid    = "EncryptThroughS3"
        Effect = "Allow"
        # S3 needs kms:Decrypt between the parts of a multipart upload. The role can't read objects with it.
        Action   = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource = key
        # S3 accepts only keys of the bucket's region.
        Condition = { StringEquals = { "kms:ViaService" = "s3.${split(":", key)[3]}.${local.url_suffix}" } }
      } if key != ""],
    )
  })
}

data "aws_region" "current" {}

resource "aws_s3_bucket" "audit_logs" {
  count  = var.create_bucket ? 1 : 0
  bucket = var.bucket_name

  lifecycle {
    precondition {
      condition     = var.bucket_region == null || data.aws_region.current.id == var.bucket_region
      error_message = "The bucket must be created in ${coalesce(var.bucket_region, "its region")}: set the region of the AWS provider."
    }
  }
}

resource "aws_s3_bucket_public_access_block" "audit_logs" {
  count                   = var.create_bucket ? 1 : 0
  bucket                  = var.bucket_name
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
  depends_on              = [aws_s3_bucket.audit_logs]
}

# Without ACLs, you own every object, whichever account stored it.
resource "aws_s3_bucket_ownership_controls" "audit_logs" {
  count      = var.create_bucket ? 1 : 0
  bucket     = var.bucket_name
  depends_on = [aws_s3_bucket.audit_logs]

  rule { object_ownership = "BucketOwnerEnforced" }
}

# s3:PutObject can overwrite objects. With versions, no delivered object is lost.
resource "aws_s3_bucket_versioning" "audit_logs" {
  count      = var.create_bucket ? 1 : 0
  bucket     = var.bucket_name
  depends_on = [aws_s3_bucket.audit_logs]

  versioning_configuration { status = "Enabled" }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "audit_logs" {
  count      = var.create_bucket ? 1 : 0
  bucket     = var.bucket_name
  depends_on = [aws_s3_bucket.audit_logs]

  rule {
    bucket_key_enabled = var.kms_key_arn != ""

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == "" ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn == "" ? null : var.kms_key_arn
    }
  }
}

# Uploads that the exporter could not abort, for example if it was stopped.
resource "aws_s3_bucket_lifecycle_configuration" "audit_logs" {
  count      = var.create_bucket ? 1 : 0
  bucket     = var.bucket_name
  depends_on = [aws_s3_bucket_versioning.audit_logs]

  rule {
    id     = "drop-unfinished-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload { days_after_initiation = 7 }
  }
}

resource "aws_s3_bucket_policy" "audit_logs" {
  count      = var.create_bucket ? 1 : 0
  bucket     = var.bucket_name
  depends_on = [aws_s3_bucket_public_access_block.audit_logs]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [local.bucket, "${local.bucket}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

# Also without an alarm. Terraform replaces all notifications of the bucket by these: add yours here.
resource "aws_s3_bucket_notification" "audit_logs" {
  count       = var.create_bucket ? 1 : 0
  bucket      = var.bucket_name
  eventbridge = true
  depends_on  = [aws_s3_bucket.audit_logs]
}

# Each file of audit logs matches. It has no target: its metric is enough for the alarm.
resource "aws_cloudwatch_event_rule" "deliveries" {
  count       = local.alarms
  name_prefix = "audit-log-export-"
  description = "Counts the files of audit logs that arrive."
  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [var.bucket_name] }
      # With "dt=", only files with data match. The provider's daily check also stores an object in the tenant's folder, and
      # would keep the alarm quiet. In S3's messages to queues and topics, keys are URL-encoded. No page of AWS says how they are
      # here, so both match. In the encoded one, the prefix is as it was entered: one with !'() may differ.
      object = { key = [
        { prefix = "${local.prefix}audit-logs/tenant=${var.tenant_id}/dt=" },
        { prefix = "${local.prefix}audit-logs/tenant%3D${var.tenant_id}/dt%3D" },
      ] }
    }
  })

  lifecycle {
    # With several tenants' files, the alarm would stay quiet as long as one of them gets its own.
    precondition {
      condition     = var.tenant_id != ""
      error_message = "The alarm watches the files of one tenant: set tenant_id, or leave alarm_email blank."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "deliveries_stopped" {
  count               = local.alarms
  alarm_name          = aws_cloudwatch_event_rule.deliveries[0].name
  alarm_description   = "No file of audit logs has arrived in the bucket ${var.bucket_name} for ${var.alarm_after_hours} hours. Look at the status of the export at your provider."
  namespace           = "AWS/Events"
  metric_name         = "MatchedEvents"
  dimensions          = { RuleName = aws_cloudwatch_event_rule.deliveries[0].name }
  statistic           = "Sum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 3600
  evaluation_periods  = var.alarm_after_hours
  # EventBridge counts what there is, so an hour without a file has no data.
  treat_missing_data = "breaching"
  alarm_actions      = [aws_sns_topic.alarm[0].arn]
  ok_actions         = [aws_sns_topic.alarm[0].arn]
}

# Not encrypted with a key: CloudWatch can't publish to a topic with the AWS managed key, and a key of your own costs more than
# all of the alarm. The message names the bucket, and holds nothing of the audit logs.
resource "aws_sns_topic" "alarm" {
  count       = local.alarms
  name_prefix = "audit-log-export-"
}

resource "aws_sns_topic_subscription" "alarm" {
  count     = local.alarms
  topic_arn = aws_sns_topic.alarm[0].arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

data "aws_caller_identity" "current" {}

resource "aws_sns_topic_policy" "alarm" {
  count = local.alarms
  arn   = aws_sns_topic.alarm[0].arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyAlarmsOfThisAccount"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.alarm[0].arn
      # Else, an alarm of any account could make CloudWatch publish here (the confused deputy).
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

resource "aws_glue_catalog_database" "audit_logs" {
  count = local.tables
  # Eight digits for the folder, so that an account can hold several of these. Athena wants no hyphens.
  name        = "audit_logs_${substr(sha256(local.objects), 0, 8)}"
  description = "The audit logs that your provider delivers."
}

# Reads native events as NDJSON, plain or gzip. With partition projection, Athena works the folders out by itself: no crawler,
# and no partitions to add.
resource "aws_glue_catalog_table" "audit_logs" {
  count         = local.tables
  database_name = aws_glue_catalog_database.audit_logs[0].name
  name          = "audit_logs"
  table_type    = "EXTERNAL_TABLE"
  parameters = { for name, value in {
    "EXTERNAL"             = "TRUE"
    "projection.enabled"   = "true"
    "projection.dt.type"   = "date"
    "projection.dt.format" = "yyyy-MM-dd"
    "projection.dt.range"  = "2020-01-01,NOW"
    # "injected": each query must name the tenant.
    "projection.tenant.type"   = var.tenant_id == "" ? "injected" : "enum"
    "projection.tenant.values" = var.tenant_id
    # $${tenant} and $${dt} are Athena's.
    "storage.location.template" = "s3://${var.bucket_name}/${local.prefix}audit-logs/tenant=$${tenant}/dt=$${dt}/"
  } : name => value if value != "" }

  partition_keys {
    name = "tenant"
    type = "string"
  }
  partition_keys {
    name = "dt"
    type = "string"
  }

  storage_descriptor {
    location      = "s3://${var.bucket_name}/${local.prefix}audit-logs/"
    input_format  = "org.apache.hadoop.mapred.TextInputFormat"
    output_format = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"

    columns {
      name = "id"
      type = "string"
    }
    columns {
      name = "date"
      type = "string"
    }
    columns {
      name = "logtype"
      type = "string"
    }
    columns {
      name = "action"
      type = "string"
    }
    columns {
      name = "user"
      type = "struct<id:string,name:string,email:string>"
    }
    columns {
      name = "additionalinfo"
      type = "string"
    }

    ser_de_info {
      serialization_library = "org.openx.data.jsonserde.JsonSerDe"
      # By default, this SerDe makes the names in additionalInfo lowercase, too.
      parameters = {
        "case.insensitive"       = "false"
        "mapping.logtype"        = "logType"
        "mapping.additionalinfo" = "additionalInfo"
      }
    }
  }
}

output "role_arn" {
  description = "Paste this into the provider's connector page."
  value       = aws_iam_role.audit_log_export.arn
}

output "athena_table" {
  description = "The table to query with Athena, with create_glue_table."
  value       = var.create_glue_table ? "${aws_glue_catalog_database.audit_logs[0].name}.audit_logs" : null
}
