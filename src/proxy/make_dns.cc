// SPDX-License-Identifier: GPL-2.0-only
// DnsSettings from what the user says.
#include <fmt/format.h>

#include <utility>

#include "base/error_numbers.h"
#include "base/log.h"
#include "kernel/links.h"
#include "proxy/dns_service.h"

namespace shunt {
namespace {

Result<void> check_collision(const DnsConfig& config, const Network& range, const char* key) {
  const auto own = list_addresses();
  if (!own) return {};
  for (const InterfaceAddress& each : *own) {
    const Network network = Network::of(each.address, each.prefix_length);
    if (!range.contains(network) && !network.contains(range)) continue;
    if (network.prefix_length == 0) continue;
    Error error =
        make_error(Kind::configuration, error_number::kBadKeyValue,
                   fmt::format("{} is used here: {} has {}/{}", range.text(), each.interface,
                               each.address.text(), each.prefix_length),
                   fmt::format("{} = \"…\" in [dns]: a block that nothing else uses", key));
    if (config.place) error.place = config.place(key);
    return Failure(std::move(error));
  }
  return {};
}

Result<std::shared_ptr<const TlsClient>> tls_of(const DnsConfig& config,
                                                const DnsServerAddress& server) {
  const bool named = !config.tls_server_name.empty();
  auto client = TlsClient::create(
      {.server_name = named ? config.tls_server_name : server.endpoint.address.text(),
       .ca_file = config.tls_ca});
  if (client) return client;
  Error error = std::move(client).error();
  if (error.place.empty() && config.place) error.place = config.place("tls-ca");
  return Failure(std::move(error));
}

}  // namespace

Result<std::shared_ptr<const DnsSettings>> make_dns(const DnsConfig& config,
                                                    const std::string& state_file,
                                                    bool own_clients) {
  SHUNT_CHECK(check_dns(config));
  if (config.mode == DnsMode::system) return nullptr;
  auto settings = std::make_shared<DnsSettings>();
  settings->mode = config.mode;
  settings->real = std::make_shared<RealNames>(config.real);
  settings->own_clients = own_clients;
  if (!config.server.empty()) {
    settings->server = parse_dns_server(config.server);
    if (settings->server->transport == DnsServerAddress::Transport::tls) {
      settings->tls = SHUNT_TRY(tls_of(config, *settings->server));
    }
  }
  if (config.mode == DnsMode::remote) return settings;
  const FakeRanges ranges = SHUNT_TRY(fake_ranges(config));
  SHUNT_CHECK(check_collision(config, ranges.v4, "range4"));
  if (ranges.v6) SHUNT_CHECK(check_collision(config, *ranges.v6, "range6"));
  settings->pool = std::make_shared<FakePool>(ranges.v4, ranges.v6);
  if (state_file.empty()) return settings;
  auto file = FakeFile::open(state_file, *settings->pool);
  if (file) {
    settings->file = *std::move(file);
  } else {
    log(LogLevel::warning,
        fmt::format("fake addresses are forgotten at the end: {}", file.error().text()));
  }
  return settings;
}

}  // namespace shunt
