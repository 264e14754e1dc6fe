# A whole installation: the orchestrator with all features, and the sweeper's role.

module "dormouse" {
  source = "../.."

  installation       = var.installation
  vpc_id             = var.vpc_id
  subnet_id          = var.private_subnet_ids[0]
  builder_subnet_ids = var.private_subnet_ids

  api_cidrs                   = var.api_cidrs
  s3_endpoint_route_table_ids = var.route_table_ids

  binary_url    = var.binary_url
  binary_sha256 = var.binary_sha256

  extra_settings = {
    engine = { lease = "15m" }
  }

  tags = { project = "dormouse" }
}

module "sweeper" {
  source = "../../modules/sweeper-role"

  installation      = var.installation
  trusted_role_arns = [var.sweeper_role_arn]
  regions           = [var.region]

  tags = { project = "dormouse" }
}
