// SPDX-License-Identifier: GPL-2.0-only
// Where a flow to a fake address goes: the addresses of its name. Both families are asked for at
// once, and neither waits for the other for long (RFC 8305 section 3).
//
// A client of the network around that gets this machine to connect for it must not reach what only
// this machine does: whoever owns a name may give it any address (DNS rebinding). Such a client
// would be captured on none of its own ways to loopback, link-local or this machine's addresses
// (capture/tproxy.h), so no name leads there either.
#include <coroutine>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "dns/limits.h"
#include "proxy/dns_exchange.h"
#include "proxy/dns_service.h"
#include "proxy/refusal.h"

namespace shunt {
namespace {

ConnectFailure no_address(ConnectReason reason, std::string detail) {
  return {.reason = reason, .os_error = 0, .detail = std::move(detail)};
}

}  // namespace

/// What the two questions for a name have brought so far.
struct DnsService::Lookup {
  std::vector<Address> v4;
  std::vector<Address> v6;
  int open = 2;                            ///< questions without an answer
  bool enough = false;                     ///< what is there must do
  std::function<void()> answered = [] {};  ///< called after each
};

/// Suspends until both are answered, or one of them has an address and the other's time is over.
class DnsService::Found {
 public:
  Found(EventLoop& loop, std::shared_ptr<Lookup> lookup)
      : loop_(loop), lookup_(std::move(lookup)), timer_(this, &Found::expired) {
    lookup_->answered = [this] { look(); };
  }
  ~Found() {
    lookup_->answered = [] {};
  }
  Found(const Found&) = delete;
  Found& operator=(const Found&) = delete;

  bool await_ready() {
    look();
    return lookup_->enough;
  }
  void await_suspend(std::coroutine_handle<> handle) { handle_ = handle; }
  void await_resume() { loop_.timers().disarm(timer_); }

 private:
  struct Patience : Timer {
    Patience(Found* the_found, Callback callback) : Timer(callback), found(the_found) {}
    Found* found;
  };
  void look() {
    if (lookup_->open == 0) return finish();
    const bool any = !lookup_->v4.empty() || !lookup_->v6.empty();
    if (any && !timer_.armed()) {
      loop_.timers().arm(timer_, loop_.in(limits::kDnsOtherFamilyMs));
    }
  }
  void finish() {
    lookup_->enough = true;
    if (!handle_) return;
    loop_.post([handle = std::exchange(handle_, nullptr)] { handle.resume(); });
  }
  static void expired(Timer& timer) { static_cast<Patience&>(timer).found->finish(); }

  EventLoop& loop_;
  std::shared_ptr<Lookup> lookup_;
  Patience timer_;
  std::coroutine_handle<> handle_ = nullptr;
};

Task<> DnsService::look_up(std::string name, std::uint16_t type, std::shared_ptr<Lookup> lookup) {
  const auto bytes = dns::make_query(random_query_id(), {.name = std::move(name), .type = type},
                                     dns::kOwnUdpBytes);
  const auto query = bytes ? dns::parse(*bytes) : std::nullopt;
  std::optional<dns::Message> parsed;
  if (query) {
    const auto answer = co_await ask_own_server(policy_.get(), {.bytes = *bytes, .query = *query});
    if (answer) parsed = answer_to(*answer, query->question);
  }
  --lookup->open;
  if (parsed && !lookup->enough) {
    auto& into = type == dns::type::kA ? lookup->v4 : lookup->v6;
    for (const dns::Resolved& resolved : dns::resolved_addresses(*parsed)) {
      if (into.size() < limits::kAddressesOfName) into.push_back(resolved.address);
    }
  }
  lookup->answered();
}

bool DnsService::may_dial(const Address& address, const Flow& flow) const {
  if (address.is_any() || address.is_multicast() || is_fake(address)) return false;
  const Endpoint destination{.address = address, .port = flow.original_destination.port};
  if (reaches_own_listener(destination, around_.own_listeners)) return false;
  const bool near = address.is_loopback() || address.is_link_local();
  if (!near && (settings_.own_clients || !own_addresses_.contains(address))) return true;
  return own_addresses_.contains(flow.source.address);
}

Task<std::expected<std::vector<Endpoint>, ConnectFailure>> DnsService::resolve(
    const Flow& flow, const std::string& name) {
  if (!can_resolve()) {
    co_return std::unexpected(
        no_address(ConnectReason::host_unreachable, "no server is there to look up " + name));
  }
  const auto lookup = std::make_shared<Lookup>();
  around_.start(look_up(name, dns::type::kAaaa, lookup));
  around_.start(look_up(name, dns::type::kA, lookup));
  co_await Found(loop_, lookup);
  const bool v4_first = flow.original_destination.address.family() == Family::ipv4;
  std::vector<Endpoint> endpoints;
  for (const auto* addresses :
       {v4_first ? &lookup->v4 : &lookup->v6, v4_first ? &lookup->v6 : &lookup->v4}) {
    for (const Address& address : *addresses) {
      if (!may_dial(address, flow)) continue;
      endpoints.push_back({.address = address, .port = flow.original_destination.port});
    }
  }
  if (!endpoints.empty()) co_return endpoints;
  const bool known = !lookup->v4.empty() || !lookup->v6.empty();
  if (!known) {
    co_return std::unexpected(
        no_address(ConnectReason::host_unreachable, "no address was found for " + name));
  }
  co_return std::unexpected(
      no_address(ConnectReason::denied, name + " has no address that clients may be led to"));
}

}  // namespace shunt
