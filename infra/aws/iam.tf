# What a cache client may do: read, write, delete and list below its prefix; a test holds the list to what the client calls.

locals {
  client_policy = {
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "Entries"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
          Resource = "${aws_s3_bucket.cache.arn}/${local.prefix}*"
        },
        # Without it S3 answers 403 instead of 404 for a missing key, and every miss looks like a failure.
        merge(
          {
            Sid      = "List"
            Effect   = "Allow"
            Action   = ["s3:ListBucket"]
            Resource = aws_s3_bucket.cache.arn
          },
          { for prefix in compact([local.prefix]) : "Condition" => { StringLike = { "s3:prefix" = "${prefix}*" } } },
        ),
      ],
      [
        for key in compact([var.kms_key_arn]) : {
          Sid      = "Key"
          Effect   = "Allow"
          Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource = key
        }
      ],
    )
  }
}

resource "aws_iam_policy" "client" {
  name        = "tiercache-client-${var.bucket_name}"
  description = "Read, write, delete and list cache entries in ${var.bucket_name}"
  policy      = jsonencode(local.client_policy)
  tags        = var.tags
}

resource "aws_iam_role_policy_attachment" "client" {
  for_each = var.role_names

  role       = each.value
  policy_arn = aws_iam_policy.client.arn
}

resource "aws_iam_user_policy_attachment" "client" {
  for_each = var.user_names

  user       = each.value
  policy_arn = aws_iam_policy.client.arn
}
