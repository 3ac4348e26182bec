// SPDX-License-Identifier: GPL-2.0-only
#include "cli/demo_servers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error_numbers.h"

namespace shunt::cli {
namespace {

constexpr int kStartMs = 10'000;

constexpr std::string_view kNginxConfig = R"(
user root root; daemon off; master_process off; pid {0}/nginx.pid; error_log stderr error;
events {{}}
http {{
  access_log off;
  client_body_temp_path {0}/t1; proxy_temp_path {0}/t2; fastcgi_temp_path {0}/t3;
  uwsgi_temp_path {0}/t4; scgi_temp_path {0}/t5;
  default_type text/plain;
  server {{
    listen 80; listen [::]:80; {1}
    location = /moved {{ return 301 http://{2}/; }}
    location / {{ return 200 "hello from the server, you are $remote_addr\n"; }}
  }}
}}
)";

constexpr std::string_view kNginxTls =
    "listen 443 ssl http2; listen [::]:443 ssl http2; ssl_certificate {0}/cert.pem; "
    "ssl_certificate_key {0}/key.pem;";

constexpr std::string_view kPythonServer = R"(
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        address = self.client_address[0].removeprefix("::ffff:")
        body = f"hello from the server, you are {address}\n".encode()
        moved = self.path == "/moved"
        self.send_response(301 if moved else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(("::", 80), Handler).serve_forever()
)";

bool write_file(const std::string& path, std::string_view text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  return fd.valid() &&
         ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

bool make_certificate(DemoLab& lab) {
  if (!program_exists("openssl")) return false;
  const std::string where(DemoLab::kScratch);
  const auto made = lab.server.run(
      {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
       "-days", "1", "-subj", fmt::format("/CN={}", DemoLab::kName), "-keyout", where + "/key.pem",
       "-out", where + "/cert.pem"},
      kStartMs);
  return made && made->code == 0;
}

Result<DemoProcess> start_web(DemoLab& lab, bool& tls) {
  if (program_exists("nginx")) {
    tls = make_certificate(lab);
    const std::string listen_tls = tls ? fmt::format(kNginxTls, DemoLab::kScratch) : "";
    const std::string file = fmt::format("{}/nginx.conf", DemoLab::kScratch);
    if (!write_file(file,
                    fmt::format(kNginxConfig, DemoLab::kScratch, listen_tls, DemoLab::kName))) {
      return Failure(errno_error("cannot write " + file));
    }
    return lab.server.start({"nginx", "-e", "stderr", "-c", file});
  }
  if (program_exists("python3")) {
    return lab.server.start({"python3", "-c", std::string(kPythonServer)});
  }
  return Failure(make_error(Kind::unsupported, error_number::kMissingProgram,
                            "the demo needs a web server: nginx or python3",
                            "sudo apt-get install nginx-light curl dnsmasq-base bind9-dnsutils"));
}

Result<void> wait_until_listening(DemoLab& lab, DemoProcess& web) {
  const std::string url = fmt::format("http://{}/", DemoLab::kServer4);
  const auto done = SHUNT_TRY(lab.server.run({"curl", "-s", "--retry", "40", "--retry-delay", "0",
                                              "--retry-connrefused", "-o", "/dev/null", url},
                                             kStartMs));
  if (done.code == 0) return {};
  return Failure(make_error(Kind::runtime, "the demo's web server does not answer: " + web.take()));
}

Result<DemoProcess> start_dns(DemoLab& lab) {
  auto dns = SHUNT_TRY(lab.server.start(
      {"dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
       fmt::format("--address=/{}/{}", DemoLab::kName, DemoLab::kServer4)}));
  if (!dns.wait_for("started", kStartMs)) {
    return Failure(make_error(Kind::runtime, "dnsmasq did not start: " + dns.take()));
  }
  return dns;
}

}  // namespace

Result<DemoServers> start_demo_servers(DemoLab& lab) {
  if (!program_exists("curl")) {
    return Failure(make_error(Kind::unsupported, error_number::kMissingProgram,
                              "the demo's clients use curl", "sudo apt-get install curl"));
  }
  DemoServers servers;
  servers.web = SHUNT_TRY(start_web(lab, servers.tls));
  SHUNT_CHECK(wait_until_listening(lab, *servers.web));
  servers.description = program_exists("nginx") ? "nginx (HTTP" : "python3 (HTTP";
  servers.description += servers.tls ? ", TLS)" : ")";
  if (program_exists("dnsmasq") && program_exists("dig")) {
    servers.dns = SHUNT_TRY(start_dns(lab));
    servers.description += " and dnsmasq (DNS)";
  }
  return servers;
}

}  // namespace shunt::cli
