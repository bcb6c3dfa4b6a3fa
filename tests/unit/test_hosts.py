"""The host names of the web servers."""

from __future__ import annotations

import pytest

from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.web.hosts import UnknownHost, check_host, known_hosts

KNOWN = known_hosts(
    load({"TENXSOM_ALLOWED_HOSTS": "Ops.Example.org, status.example.org.", "CLOUD_TASKS_WORKER_URL": "https://run.app"})
)


@pytest.mark.parametrize(
    "host",
    [None, "", "localhost", "localhost:8090", "web", "web:8080", "10.1.2.3", "10.1.2.3:8080", "[::1]:8090", "[fe80::1]",
     "flow.localhost", "printer.local:80", "vm.c.project.internal", "nas.home.arpa", "web.prod.svc.cluster.local",
     "ops.example.org", "OPS.example.ORG:443", "ops.example.org.", "status.example.org", "run.app"],
)  # fmt: skip
def test_addresses_private_names_and_known_domains_are_ours(host: str | None) -> None:
    """An address or a private name cannot be registered by an attacker; the settings name the domains."""
    check_host(host, KNOWN)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8090", "ops.example.org.evil.example", "localhost.evil.example", "a.run.app", ".",
     ":80", "[::1", "127.0.0.1.nip.io", "ops.example.org, evil.example", "user@evil.example", "a b"],
)  # fmt: skip
def test_other_domains_are_unknown(host: str) -> None:
    """Any other domain can be that of a hostile page."""
    with pytest.raises(UnknownHost, match="host name"):
        check_host(host, KNOWN)
