# Who may talk to whom: people to the API, the orchestrator to build machines by SSH, nobody else.

resource "aws_security_group" "orchestrator" {
  name        = local.component
  description = "Dormouse orchestrator"
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { Name = local.component })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "api" {
  for_each = toset(var.api_cidrs)

  security_group_id = aws_security_group.orchestrator.id
  description       = "Dormouse API from ${each.value}"
  ip_protocol       = "tcp"
  from_port         = var.api_port
  to_port           = var.api_port
  cidr_ipv4         = each.value
  tags              = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "api_group" {
  # By position: the ids may be unknown until they are made, and keys must not be.
  count = length(var.api_security_group_ids)

  security_group_id            = aws_security_group.orchestrator.id
  description                  = "Dormouse API from a group"
  ip_protocol                  = "tcp"
  from_port                    = var.api_port
  to_port                      = var.api_port
  referenced_security_group_id = var.api_security_group_ids[count.index]
  tags                         = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each = toset(var.ssh_cidrs)

  security_group_id = aws_security_group.orchestrator.id
  description       = "SSH of the orchestrator's own host from ${each.value}"
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = each.value
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.orchestrator.id
  description       = "AWS APIs and the program itself"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "http" {
  security_group_id = aws_security_group.orchestrator.id
  description       = "Packages of the distribution, which are signed and come over HTTP"
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
  cidr_ipv4         = "0.0.0.0/0"
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "builders" {
  security_group_id            = aws_security_group.orchestrator.id
  description                  = "SSH to build machines"
  ip_protocol                  = "tcp"
  from_port                    = 22
  to_port                      = 22
  referenced_security_group_id = aws_security_group.builders.id
  tags                         = local.tags
}

resource "aws_security_group" "builders" {
  #checkov:skip=CKV2_AWS_5:Dormouse attaches it to the machines that it launches.
  name        = "${var.name}-builders"
  description = "Build machines of Dormouse"
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-builders" })

  lifecycle {
    create_before_destroy = true
  }
}

# The only way in. Build machines cannot reach each other, nor the API.
resource "aws_vpc_security_group_ingress_rule" "builders" {
  #checkov:skip=CKV_AWS_24:It admits one security group and no address; the scan cannot see a group that is yet to be made.
  security_group_id            = aws_security_group.builders.id
  description                  = "SSH from the orchestrator"
  ip_protocol                  = "tcp"
  from_port                    = 22
  to_port                      = 22
  referenced_security_group_id = aws_security_group.orchestrator.id
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "builders_out" {
  for_each = toset(var.builder_egress_cidrs)

  security_group_id = aws_security_group.builders.id
  description       = "What builds fetch"
  ip_protocol       = "-1"
  cidr_ipv4         = each.value
  tags              = local.tags
}

resource "aws_security_group" "endpoints" {
  count = length(var.interface_endpoints) > 0 ? 1 : 0

  name        = "${var.name}-endpoints"
  description = "VPC endpoints for the Dormouse orchestrator"
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-endpoints" })
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  count = length(var.interface_endpoints) > 0 ? 1 : 0

  security_group_id            = aws_security_group.endpoints[0].id
  description                  = "AWS APIs for the orchestrator"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.orchestrator.id
  tags                         = local.tags
}

resource "aws_vpc_endpoint" "interface" {
  for_each = var.interface_endpoints

  vpc_id              = var.vpc_id
  service_name        = "com.amazonaws.${local.region}.${each.value}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = [var.subnet_id]
  security_group_ids  = [aws_security_group.endpoints[0].id]
  private_dns_enabled = true
  tags                = merge(local.tags, { Name = "${var.name}-${each.value}" })
}

resource "aws_vpc_endpoint" "s3" {
  count = length(var.s3_endpoint_route_table_ids) > 0 ? 1 : 0

  vpc_id            = var.vpc_id
  service_name      = "com.amazonaws.${local.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.s3_endpoint_route_table_ids
  tags              = merge(local.tags, { Name = "${var.name}-s3" })
}
