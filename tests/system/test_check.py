# SPDX-License-Identifier: GPL-2.0-only
"""`shunt check` and `shunt explain` as their users see them."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from netlab import Host, needs
from shunt import ROOT, read_object, shunt


@pytest.fixture
def host(binary):
    made = Host("alone")
    yield made
    made.close()


def write(host: Host, name: str, text: str) -> str:
    path = f"/run/{name}"
    host.outside(path).write_text(text)
    return path


def test_a_good_file_is_counted(host):
    done = shunt(host, "check", ROOT / "examples" / "two-uplinks.toml")
    assert done.out.endswith("two-uplinks.toml: 3 rules, 2 ways out\n")
    assert done.err == ""


def test_every_mistake_is_shown_in_its_place(host):
    path = write(host, "bad.toml", "version = 1\n[capture]\nlna = []\nhost = 1\n"
                                   "[rules]\nmatch = ['port 80 -> wan2', 'prot tcp -> drop']\n")
    done = shunt(host, "check", path, check=False)
    assert done.code == 3 and done.out == ""
    assert done.err == (
        "error[S042]: unknown key \"lna\" in [capture]\n"
        "  --> /run/bad.toml:3:1\n"
        "      3 | lna = []\n"
        "        | ^^^ did you mean \"lan\"?\n"
        "error[S043]: capture.host wants true or false\n"
        "  --> /run/bad.toml:4:8\n"
        "      4 | host = 1\n"
        "        |        ^\n"
        "error[S030]: unknown term \"prot\"\n"
        "  --> /run/bad.toml:6:30\n"
        "      6 | match = ['port 80 -> wan2', 'prot tcp -> drop']\n"
        "        |                              ^^^^ did you mean \"proto\"?\n"
        "3 mistakes\n")


def test_a_list_that_is_not_there_is_a_mistake(host):
    path = write(host, "list.toml", "version = 1\nrules.match = ['host @no.txt -> drop']\n")
    done = shunt(host, "check", path, check=False)
    assert done.code == 3 and "no.txt" in done.err


@pytest.mark.parametrize("content, why", [
    (None, ": No such file or directory"),
    ("", ""),
    ("no certificate\n", r"(: .*)?"),
    ("-----BEGIN CERTIFICATE-----\nno base64!\n-----END CERTIFICATE-----\n", ": .*"),
], ids=["missing", "empty", "text", "garbage"])
def test_whom_to_trust_is_read(host, content, why):
    if content is not None:
        write(host, "ca.pem", content)
    path = write(host, "tls.toml", "version = 1\n[via.office]\nproxy = 'https://192.0.2.1'\n"
                                   "tls-ca = 'ca.pem'\n[rules]\ndefault = 'office'\n")
    done = shunt(host, "check", path, check=False)
    assert done.code == 3 and done.out == ""
    assert re.fullmatch(
        r"error\[S033\]: way out \"office\": no certificate to trust in /run/ca\.pem" + why +
        r"\n  --> /run/tls\.toml:4:10\n      4 \| tls-ca = 'ca\.pem'\n        \|          \^+"
        r"\n  help: a file of certificates in PEM \(-----BEGIN CERTIFICATE-----\)\n",
        done.err), done.err


def test_a_certificate_to_trust_is_no_mistake(host):
    needs("openssl")
    host.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
              "-nodes", "-days", "2", "-subj", "/CN=proxy", "-keyout", "/run/key.pem", "-out",
              "/run/ca.pem"])
    path = write(host, "tls.toml", "version = 1\n[via.office]\nproxy = 'https://192.0.2.1'\n"
                                   "tls-ca = 'ca.pem'\n[rules]\ndefault = 'office'\n")
    assert shunt(host, "check", path).err == ""


def test_a_file_that_is_not_there_is_an_error(host):
    done = shunt(host, "check", "/run/none.toml", check=False)
    assert done.code == 3 and "error[S040]" in done.err


def test_what_is_odd_is_a_warning_and_no_error(host):
    secret = host.outside("/run/secret")
    secret.write_text("hunter2\n")
    secret.chmod(0o644)
    path = write(host, "odd.toml", "version = 1\n[via.a]\nproxy = 'socks5://me@192.0.2.1'\n"
                                   "password-file = 'secret'\n[rules]\n"
                                   "match = ['port 80 -> direct', 'port 80 -> reject']\n")
    done = shunt(host, "check", path)
    assert done.out.endswith("2 rules, 1 way out, 3 warnings\n")
    assert done.err.count("warning: ") == 3
    assert "chmod 600 /run/secret" in done.err and "hunter2" not in done.err


def explain(host: Host, config: str, *question: str) -> dict:
    return read_object(shunt(host, "explain", "-c", config, "--json", *question).out)


def test_explain_says_which_rule_and_why_not_the_others(host):
    config = write(host, "rules.toml", """version = 1
[capture]
lan = ["lan0"]
exclude = ["port 123"]
[rules]
match = [
  "port 22 -> direct",
  "host *.corp.example -> reject",
  "client 192.168.77.2 port 443 -> drop",
]
""")
    lan = ("--client", "192.168.77.2", "--in", "lan0")
    plain = explain(host, config, "203.0.113.7", *lan)
    assert (plain["rule"], plain["action"], plain["waits_for"]) == (3, "drop", ["name"])
    assert [one["outcome"] for one in plain["rules"]] == ["not_matched", "undecided", "matched"]
    assert plain["rules"][0]["term"] == "port 22" and plain["rules"][0]["seen"] == "443"
    named = explain(host, config, "203.0.113.7", "--host", "a.corp.example", *lan)
    assert (named["rule"], named["action"], named["waits_for"]) == (2, "reject", [])
    assert explain(host, config, "203.0.113.7:22", *lan)["in_kernel"] is True
    assert explain(host, config, "203.0.113.7:123", *lan)["capture"] == 'excluded by "port 123"'
    assert explain(host, config, "203.0.113.7")["captured"] is False
    assert (plain["client"], plain["let_in"]) == \
        ("192.168.77.2", "is let in first: its first bytes are asked for")
    assert named["let_in"] == "is refused"
    mail = explain(host, config, "203.0.113.7:25", *lan)
    assert (mail["waits_for"], mail["let_in"]) == ([], "waits until its server has answered")


def test_explain_knows_where_a_client_arrives(host):
    config = write(host, "in.toml", "version = 1\ncapture.lan = ['lan0']\n"
                                    "rules.match = ['in lan0 port 443 -> reject']\n")
    assert explain(host, config, "203.0.113.10", "--client", "192.168.77.2")["rule"] == 1
    done = shunt(host, "explain", "-c", config, "203.0.113.10", "--client", "x", check=False)
    assert done.code == 2
    assert "  --> shunt explain --client x\n                             ^\n" in done.err
    done = shunt(host, "explain", "-c", config, "203.0.113.10", "--client", "192.168.77.2",
                 "--process", "curl", check=False)
    assert done.code == 2 and "never known here" in done.err


def test_check_refuses_what_serve_would(host):
    path = write(host, "check.toml", "version = 1\n[via.g]\ngroup = 'failover'\n"
                                     "members = ['direct']\n"
                                     "check = { target = 'tcp://203.0.113.10' }\n"
                                     "[via.reject]\nmark = 1\n[dns]\nmode = 'fake-ip'\n"
                                     "[capture]\nmethod = 'redirect'\n")
    done = shunt(host, "check", path, check=False)
    assert done.code == 3
    assert "the port is missing\n  --> /run/check.toml:5:20\n" in done.err
    assert "a word of the rules' own\n  --> /run/check.toml:6:6\n" in done.err
    assert "/run/check.toml:11:10\n" in done.err and "doctor" not in done.err


def test_a_rule_is_printed_as_it_was_written(host):
    rule = r'path ~"^/re[0-9]+\.x$" -> reject'
    done = shunt(host, "explain", "192.0.2.1:80", "--rule", rule)
    assert r'path ~"^/re[0-9]+\.x$"' in done.out and r"\\" not in done.out
    done = shunt(host, "explain", "192.0.2.1", "--rule", "-> reject", check=False)
    assert "--rule='-> reject'" in done.err


def test_explain_takes_rules_without_a_file(host):
    done = shunt(host, "explain", "192.0.2.1:25", "--rule", "port 25 -> reject")
    assert "rule 1" in done.out and "reject" in done.out and "captured" not in done.out
    done = shunt(host, "explain", "192.0.2.1", "--rule", "prot tcp -> reject", check=False)
    assert done.code == 2 and "did you mean \"proto\"?" in done.err


EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.toml"))


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_good(host, example):
    assert shunt(host, "check", Path(ROOT, "examples", example)).err == ""
