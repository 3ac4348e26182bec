// SPDX-License-Identifier: GPL-2.0-only
#include "cli/explain_fake.h"

#include <cerrno>
#include <utility>

#include "dns/fake_file.h"

namespace shunt::cli {
namespace {

bool is_configured(const DnsConfig& dns, const Address& address) {
  if (dns.mode != DnsMode::fake_ip) return false;
  const auto ranges = fake_ranges(dns);
  return ranges && (ranges->v4.contains(address) || (ranges->v6 && ranges->v6->contains(address)));
}

}  // namespace

Result<std::optional<FakeDestination>> name_fake_destination(const DnsConfig& dns,
                                                             const std::string& path,
                                                             Facts& facts) {
  const Address& address = facts.destination.address;
  const bool configured = is_configured(dns, address);
  auto meaning = look_up_fake(path, address);
  if (!meaning && !configured) return std::nullopt;
  if (!meaning) {
    Error error = with_context(std::move(meaning).error(), "what it stands for is not known");
    error.help = "sudo shunt explain " + address.text();
    return Failure(std::move(error));
  }
  if (!*meaning && !configured) return std::nullopt;
  FakeDestination fake{.name = *meaning ? std::move((*meaning)->name) : ""};
  if (!fake.name.empty()) {
    facts.name = {.state = FactState::known,
                  .name = fake.name,
                  .source = NameSource::fake_ip,
                  .verified = true};
  }
  return fake;
}

}  // namespace shunt::cli
