# Security groups of vpc-0a1, written by flowctl: one group per workload, each with only the rules that were needed.
#
# Applying this file changes no traffic until interfaces carry the groups. The map below says which instances and
# interfaces should carry which group, and which tags their future members have. Groups add up: an interface is only
# as tight as the loosest group it carries, so the new group takes the place of the old ones.

locals {
  flowctl_members_vpc_0a1 = {
    "flowctl-app" = {
      security_group_id = aws_security_group.vpc_0a1_app.id
      members = [
        "eni-app1",
        "i-app1",
      ]
      tags = {
        "app" = "app"
      }
    }
    "flowctl-db" = {
      security_group_id = aws_security_group.vpc_0a1_db.id
      members = [
        "eni-db1",
        "i-db1",
      ]
      tags = {
        "app" = "db"
      }
    }
    "flowctl-web" = {
      security_group_id = aws_security_group.vpc_0a1_web.id
      members = [
        "eni-web1",
        "eni-web2",
        "i-web1",
        "i-web2",
      ]
      tags = {
        "app"  = "web"
        "tier" = "front"
      }
    }
  }
}

resource "aws_security_group" "vpc_0a1_app" {
  name        = "flowctl-app"
  description = "flowctl-app: what this workload needs, kept by flowctl"
  vpc_id      = "vpc-0a1"

  tags = {
    "managed-by" = "flowctl"
  }
}

resource "aws_vpc_security_group_ingress_rule" "vpc_0a1_app_tcp_8080_from_web" {
  security_group_id            = aws_security_group.vpc_0a1_app.id
  description                  = "web to app TCP 8080: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  referenced_security_group_id = aws_security_group.vpc_0a1_web.id
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
}

resource "aws_vpc_security_group_ingress_rule" "vpc_0a1_app_tcp_8081_from_web" {
  security_group_id            = aws_security_group.vpc_0a1_app.id
  description                  = "web to app TCP 8081: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  referenced_security_group_id = aws_security_group.vpc_0a1_web.id
  ip_protocol                  = "tcp"
  from_port                    = 8081
  to_port                      = 8081
}

resource "aws_vpc_security_group_ingress_rule" "vpc_0a1_app_udp_7946_from_app" {
  security_group_id            = aws_security_group.vpc_0a1_app.id
  description                  = "app to app UDP 7946: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  referenced_security_group_id = aws_security_group.vpc_0a1_app.id
  ip_protocol                  = "udp"
  from_port                    = 7946
  to_port                      = 7946
}

resource "aws_vpc_security_group_egress_rule" "vpc_0a1_app_tcp_443_to_2a00_1450_4001__5" {
  security_group_id = aws_security_group.vpc_0a1_app.id
  description       = "app to 2a00:1450:4001::5 TCP 443: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  cidr_ipv6         = "2a00:1450:4001::5/128"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "vpc_0a1_app_tcp_5432_to_db" {
  security_group_id            = aws_security_group.vpc_0a1_app.id
  description                  = "app to db TCP 5432: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  referenced_security_group_id = aws_security_group.vpc_0a1_db.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_egress_rule" "vpc_0a1_app_udp_7946_to_app" {
  security_group_id            = aws_security_group.vpc_0a1_app.id
  description                  = "app to app UDP 7946: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  referenced_security_group_id = aws_security_group.vpc_0a1_app.id
  ip_protocol                  = "udp"
  from_port                    = 7946
  to_port                      = 7946
}

resource "aws_security_group" "vpc_0a1_db" {
  name        = "flowctl-db"
  description = "flowctl-db: what this workload needs, kept by flowctl"
  vpc_id      = "vpc-0a1"

  tags = {
    "managed-by" = "flowctl"
  }
}

resource "aws_vpc_security_group_ingress_rule" "vpc_0a1_db_tcp_5432_from_app" {
  security_group_id            = aws_security_group.vpc_0a1_db.id
  description                  = "app to db TCP 5432: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  referenced_security_group_id = aws_security_group.vpc_0a1_app.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_ingress_rule" "vpc_0a1_db_tcp_5432_from_10_9_0_5" {
  security_group_id = aws_security_group.vpc_0a1_db.id
  description       = "batch to db TCP 5432: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  cidr_ipv4         = "10.9.0.5/32"
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_vpc_security_group_ingress_rule" "vpc_0a1_db_tcp_5432_from_10_9_0_6" {
  security_group_id = aws_security_group.vpc_0a1_db.id
  description       = "batch to db TCP 5432: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  cidr_ipv4         = "10.9.0.6/32"
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_vpc_security_group_ingress_rule" "vpc_0a1_db_all_icmp_from_web" {
  security_group_id            = aws_security_group.vpc_0a1_db.id
  description                  = "web to db ICMP: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  referenced_security_group_id = aws_security_group.vpc_0a1_web.id
  ip_protocol                  = "icmp"
  from_port                    = -1
  to_port                      = -1
}

resource "aws_vpc_security_group_egress_rule" "vpc_0a1_db_udp_514_to_10_200_0_7" {
  security_group_id = aws_security_group.vpc_0a1_db.id
  description       = "db to 10.200.0.7 UDP 514: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  cidr_ipv4         = "10.200.0.7/32"
  ip_protocol       = "udp"
  from_port         = 514
  to_port           = 514
}

resource "aws_security_group" "vpc_0a1_web" {
  name        = "flowctl-web"
  description = "flowctl-web: what this workload needs, kept by flowctl"
  vpc_id      = "vpc-0a1"

  tags = {
    "managed-by" = "flowctl"
  }
}

resource "aws_vpc_security_group_ingress_rule" "vpc_0a1_web_tcp_22_from_8_8_1_1" {
  security_group_id = aws_security_group.vpc_0a1_web.id
  description       = "8.8.1.1 to web TCP 22: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  cidr_ipv4         = "8.8.1.1/32"
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
}

resource "aws_vpc_security_group_ingress_rule" "vpc_0a1_web_tcp_443_from_0_0_0_0_0" {
  security_group_id = aws_security_group.vpc_0a1_web.id
  description       = "17 public sources to web TCP 443: 20,468 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "vpc_0a1_web_tcp_8080_to_app" {
  security_group_id            = aws_security_group.vpc_0a1_web.id
  description                  = "web to app TCP 8080: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  referenced_security_group_id = aws_security_group.vpc_0a1_app.id
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
}

resource "aws_vpc_security_group_egress_rule" "vpc_0a1_web_tcp_8081_to_app" {
  security_group_id            = aws_security_group.vpc_0a1_web.id
  description                  = "web to app TCP 8081: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  referenced_security_group_id = aws_security_group.vpc_0a1_app.id
  ip_protocol                  = "tcp"
  from_port                    = 8081
  to_port                      = 8081
}

resource "aws_vpc_security_group_egress_rule" "vpc_0a1_web_all_icmp_to_db" {
  security_group_id            = aws_security_group.vpc_0a1_web.id
  description                  = "web to db ICMP: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
  referenced_security_group_id = aws_security_group.vpc_0a1_db.id
  ip_protocol                  = "icmp"
  from_port                    = -1
  to_port                      = -1
}
