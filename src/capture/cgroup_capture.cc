// SPDX-License-Identifier: GPL-2.0-only
#include "capture/cgroup_capture.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/limits.h"
#include "capture/cgroup_listeners.h"
#include "kernel/links.h"
#include "kernel/policy_route.h"

namespace shunt {
namespace {

using std::chrono::steady_clock;

constexpr unsigned kPrefixBits = 96;

/// fdXX:…, with 88 random bits (RFC 4193 wants 40 of them): nobody's, for as long as we live.
Address random_prefix() {
  in6_addr prefix{};
  std::array<std::uint8_t, kPrefixBits / 8> bytes{};
  (void)::getrandom(bytes.data(), bytes.size(), 0);
  std::memcpy(&prefix, bytes.data(), bytes.size());
  prefix.s6_addr[0] = 0xfd;
  return Address(prefix);
}

Address last_of(const Address& prefix) {
  in6_addr address = prefix.v6();
  std::memset(address.s6_addr + kPrefixBits / 8, 0xff, sizeof address - kPrefixBits / 8);
  return Address(address);
}

Address broadcast_of(const InterfaceAddress& own) {
  in_addr address = own.address.v4();
  const std::uint32_t hosts = own.prefix_length == 0 ? ~0U : (1U << (32 - own.prefix_length)) - 1;
  address.s_addr |= htonl(hosts);
  return Address(address);
}

LetGo all_of(std::string_view network) { return {.network = *Network::parse(network)}; }

LetGo only_dns_of(const Address& address) {
  const auto bits = static_cast<unsigned>(address.bytes().size() * 8);
  return {.network = Network::of(address, bits), .but_dns = true};
}

void add_own_addresses(std::vector<LetGo>& out) {
  const auto addresses = list_addresses();
  if (!addresses) return;
  for (const InterfaceAddress& own : *addresses) {
    if (own.address.is_loopback() || own.address.is_link_local()) continue;
    out.push_back(only_dns_of(own.address));
    if (!own.address.is_v4() || own.prefix_length >= 31) continue;
    out.push_back({.network = Network::of(broadcast_of(own), 32)});
  }
}

ShownSources sources_of(const HostNetwork& host) {
  return {.ipv4 = host.ipv4.source, .ipv6 = host.ipv6.source};
}

/// Datagrams are asked for one by one: what was found is remembered for a moment.
class ProgramOrigins final : public Origins {
 public:
  explicit ProgramOrigins(std::shared_ptr<CaptureProgram> program) : program_(std::move(program)) {}

  std::optional<Origin> of_connection(const Endpoint& client) override {
    auto found = program_->take_connection(client);
    if (!found) return std::nullopt;
    return origin_of(*std::move(found));
  }

  std::optional<Origin> of_datagram(const Endpoint& received_at) override {
    const std::scoped_lock lock(mutex_);
    const auto now = steady_clock::now();
    if (const auto known = recent_.find(received_at.address);
        known != recent_.end() && now < known->second.until) {
      return known->second.origin;
    }
    auto found = program_->datagram_to(received_at.address);
    if (!found) {
      recent_.erase(received_at.address);
      return std::nullopt;
    }
    if (recent_.size() >= limits::kRecentOrigins) recent_.clear();
    Origin origin = origin_of(*std::move(found));
    recent_[received_at.address] = {.origin = origin, .until = now + kHolds};
    return origin;
  }

  [[nodiscard]] std::vector<int> descriptors() const override { return program_->maps(); }

 private:
  struct Recent {
    Origin origin;
    steady_clock::time_point until;
  };

  static constexpr std::chrono::milliseconds kHolds{limits::kRecentOriginMs};

  static Origin origin_of(CaptureProgram::Remembered found) {
    return {.destination = found.destination,
            .process = std::make_shared<const ClientProcess>(std::move(found.process))};
  }

  std::shared_ptr<CaptureProgram> program_;
  std::mutex mutex_;
  std::unordered_map<Address, Recent, AddressHash> recent_;
};

}  // namespace

// The most specific prefix counts, so a name server on loopback comes out of the range around it.
std::vector<LetGo> cgroup_let_go(const std::vector<Address>& name_servers) {
  std::vector<LetGo> out{all_of("0.0.0.0/8"),   all_of("127.0.0.0/8"),     all_of("169.254.0.0/16"),
                         all_of("224.0.0.0/4"), all_of("255.255.255.255"), all_of("::"),
                         all_of("::1"),         all_of("fe80::/10"),       all_of("ff00::/8")};
  add_own_addresses(out);
  for (const Address& server : name_servers) out.push_back(only_dns_of(server));
  return out;
}

/// Through a device that goes with this process, so that the route does. The source that programs
/// get towards it is the last address of the prefix: `src` must be one of the device's own.
void CgroupCapture::add_datagram_prefix(CaptureProgramOptions& program) {
  if (!listeners_.ipv6) return;
  auto device = TunDevice::create();
  if (!device) {
    why_no_ipv6_datagrams_ = device.error().text();
    return;
  }
  const Address prefix = random_prefix();
  const Address source = last_of(prefix);
  const auto there = add_address(device->name(), source, 128);
  if (!there) {
    why_no_ipv6_datagrams_ = there.error().text();
    return;
  }
  const auto routed = add_route({.family = Family::ipv6,
                                 .type = RouteType::local,
                                 .destination = prefix,
                                 .prefix_length = kPrefixBits,
                                 .interface = device->name(),
                                 .preferred_source = source});
  if (!routed) {
    why_no_ipv6_datagrams_ = routed.error().text();
    return;
  }
  tun_ = *std::move(device);
  program.datagram_prefix = prefix;
}

Result<CgroupCapture> CgroupCapture::create(const CgroupCaptureOptions& options) {
  CgroupCapture made;
  made.listeners_ = SHUNT_TRY(make_cgroup_listeners(options.workers, options.own_mark));
  CaptureProgramOptions program{.port = made.listeners_.port,
                                .let_go = cgroup_let_go(options.name_servers),
                                .own_pid = options.own_process ? ::getpid() : 0,
                                .own_mark = options.own_mark,
                                .own_mark_mask = options.own_mark == 0 ? 0 : ~0U,
                                .selection = options.selection};
  made.add_datagram_prefix(program);
  made.program_ = SHUNT_TRY(CaptureProgram::load(program));
  made.change_network(options.host);
  return made;
}

void CgroupCapture::change_network(const HostNetwork& host) {
  program_->show_sources(sources_of(host));
}

std::shared_ptr<Origins> CgroupCapture::origins() const {
  return std::make_shared<ProgramOrigins>(program_);
}

}  // namespace shunt
