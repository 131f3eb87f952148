"""Well-known service ports: weak evidence of who serves, used only where nothing better is there.

Source: the IANA service name and port number registry, and the defaults that the named products document.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EPHEMERAL_START = 32768
"""Linux picks client ports from 32768 to 60999 (ip_local_port_range), Windows and IANA from 49152."""

SERVICE_PORTS: dict[int, str] = {
    20: "ftp-data", 21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp", 43: "whois", 49: "tacacs", 53: "dns", 67: "dhcp",
    69: "tftp", 80: "http", 88: "kerberos", 110: "pop3", 111: "rpcbind", 119: "nntp", 123: "ntp", 135: "msrpc",
    137: "netbios-ns", 138: "netbios-dgm", 139: "netbios-ssn", 143: "imap", 161: "snmp", 162: "snmptrap", 179: "bgp",
    389: "ldap", 427: "slp", 443: "https", 445: "smb", 464: "kpasswd", 465: "smtps", 500: "isakmp", 514: "syslog",
    515: "printer", 520: "rip", 548: "afp", 554: "rtsp", 587: "submission", 601: "syslog-conn", 623: "ipmi",
    631: "ipp", 636: "ldaps", 853: "dns-tls", 873: "rsync", 902: "vmware", 989: "ftps-data", 990: "ftps", 993: "imaps",
    995: "pop3s", 1080: "socks", 1099: "rmi", 1194: "openvpn", 1414: "mq", 1433: "mssql", 1434: "mssql-browser",
    1521: "oracle", 1645: "radius-old", 1701: "l2tp", 1723: "pptp", 1812: "radius", 1813: "radius-acct",
    1883: "mqtt", 1900: "ssdp", 2049: "nfs", 2181: "zookeeper", 2222: "ssh-alt", 2375: "docker", 2376: "docker-tls",
    2379: "etcd-client", 2380: "etcd-peer", 2483: "oracle-db", 2888: "zookeeper-peer", 3000: "http-app",
    3100: "loki", 3128: "squid", 3200: "tempo", 3260: "iscsi", 3268: "globalcat", 3269: "globalcat-tls",
    3306: "mysql", 3389: "rdp", 3478: "stun", 3550: "grpc-app", 3888: "zookeeper-election", 4000: "http-app",
    4040: "spark-ui", 4222: "nats", 4240: "cilium-health", 4244: "hubble", 4245: "hubble-relay", 4317: "otlp-grpc",
    4318: "otlp-http", 4369: "epmd", 4443: "https-alt", 4500: "ipsec-nat", 4789: "vxlan", 5000: "http-app",
    5044: "beats", 5050: "http-app", 5060: "sip", 5061: "sips", 5222: "xmpp", 5269: "xmpp-server", 5353: "mdns",
    5355: "llmnr", 5432: "postgresql", 5433: "postgresql-alt", 5601: "kibana", 5671: "amqps", 5672: "amqp",
    5683: "coap", 5900: "vnc", 5984: "couchdb", 5985: "winrm", 5986: "winrm-tls", 6000: "http-app", 6081: "geneve",
    6379: "redis", 6380: "redis-tls", 6432: "pgbouncer", 6443: "kube-apiserver", 6514: "syslog-tls", 6650: "pulsar",
    6783: "weave", 7000: "cassandra", 7001: "cassandra-tls", 7070: "grpc-app", 7077: "spark", 7080: "http-app",
    7233: "temporal", 7443: "https-alt", 7474: "neo4j", 7687: "bolt", 7946: "memberlist", 8000: "http-alt",
    8001: "http-alt", 8008: "http-alt", 8009: "ajp", 8020: "hdfs", 8060: "http-app", 8080: "http-alt",
    8081: "http-alt", 8082: "http-alt", 8083: "http-alt", 8086: "influxdb", 8088: "http-alt", 8089: "splunk",
    8090: "http-alt", 8123: "clickhouse-http", 8125: "statsd", 8161: "activemq-web", 8200: "vault",
    8201: "vault-cluster", 8300: "consul", 8301: "consul-lan", 8302: "consul-wan", 8443: "https-alt",
    8472: "vxlan-linux", 8500: "consul-http", 8501: "consul-https", 8600: "consul-dns", 8765: "http-app",
    8883: "mqtts", 8888: "http-alt", 8983: "solr", 9000: "http-app", 9001: "http-app", 9042: "cassandra-cql",
    9080: "http-app", 9090: "prometheus", 9091: "pushgateway", 9092: "kafka", 9093: "alertmanager",
    9094: "alertmanager-cluster", 9095: "grpc-app", 9096: "grpc-app", 9100: "node-exporter", 9104: "mysqld-exporter",
    9121: "redis-exporter", 9153: "coredns-metrics", 9187: "postgres-exporter", 9200: "elasticsearch",
    9300: "elasticsearch-peer", 9411: "zipkin", 9418: "git", 9443: "https-alt", 9555: "grpc-app", 9898: "http-app",
    9999: "http-app", 10000: "webmin", 10050: "zabbix-agent", 10051: "zabbix", 10249: "kube-proxy-metrics",
    10250: "kubelet", 10255: "kubelet-read-only", 10256: "kube-proxy-health", 10257: "kube-controller-manager",
    10259: "kube-scheduler", 11211: "memcached", 12345: "alloy", 13133: "otel-health", 14250: "jaeger-grpc",
    14268: "jaeger-http", 15000: "envoy-admin", 15008: "hbone", 15010: "istiod", 15012: "istiod-tls",
    15014: "istiod-metrics", 15017: "istiod-webhook", 15020: "istio-merged", 15021: "istio-health",
    15090: "envoy-metrics", 15672: "rabbitmq-web", 16379: "redis-cluster", 16686: "jaeger-ui", 18080: "spark-history",
    19999: "netdata", 20000: "http-app", 25672: "rabbitmq-peer", 26257: "cockroachdb", 26379: "redis-sentinel",
    27017: "mongodb", 27018: "mongodb-shard", 27019: "mongodb-config", 28015: "rethinkdb", 29092: "kafka-alt",
    50000: "db2", 50051: "grpc", 50052: "grpc", 50070: "hdfs-web", 51820: "wireguard",
    61613: "stomp", 61614: "stomp-tls", 61616: "activemq",
}  # fmt: skip
"""Port -> name. Ports from EPHEMERAL_START up are also what clients pick: they need fan-in to be believed."""


def settling_ports() -> NDArray[np.uint8]:
    """uint8[8192], a bit for each port: whether it alone, met by an ephemeral one, settles who serves."""
    table = np.zeros(65536, np.uint8)
    table[[p for p in SERVICE_PORTS if p < EPHEMERAL_START]] = 1
    return np.packbits(table, bitorder="little")


def port_rank() -> NDArray[np.uint8]:
    """uint8[65536]: 2 for well-known service ports, 1 for other system ports (below 1024, RFC 6335), else 0."""
    table = np.zeros(65536, np.uint8)
    table[1:1024] = 1
    table[list(SERVICE_PORTS)] = 2
    return table
