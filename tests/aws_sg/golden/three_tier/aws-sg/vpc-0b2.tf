# Security groups of vpc-0b2, written by flowctl: one group per workload, each with only the rules that were needed.
#
# Applying this file changes no traffic until interfaces carry the groups. The map below says which instances and
# interfaces should carry which group, and which tags their future members have. Groups add up: an interface is only
# as tight as the loosest group it carries, so the new group takes the place of the old ones.

locals {
  flowctl_members_vpc_0b2 = {
    "flowctl-batch" = {
      security_group_id = aws_security_group.vpc_0b2_batch.id
      members = [
        "eni-batch1",
        "eni-batch2",
        "i-batch1",
        "i-batch2",
      ]
      tags = {
        "app" = "batch"
      }
    }
  }
}

resource "aws_security_group" "vpc_0b2_batch" {
  name        = "flowctl-batch"
  description = "flowctl-batch: what this workload needs, kept by flowctl"
  vpc_id      = "vpc-0b2"

  tags = {
    "managed-by" = "flowctl"
  }
}

resource "aws_vpc_security_group_egress_rule" "vpc_0b2_batch_tcp_5432_to_10_0_3_10" {
  security_group_id = aws_security_group.vpc_0b2_batch.id
  description       = "batch to db TCP 5432: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  cidr_ipv4         = "10.0.3.10/32"
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}
