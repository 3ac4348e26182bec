// SPDX-License-Identifier: GPL-2.0-only
#include "capture/capture_namespace.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/wait.h>

#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "base/error_record.h"
#include "base/limits.h"
#include "capture/host_network_record.h"
#include "capture/namespace_holder.h"
#include "capture/namespace_rules.h"
#include "kernel/capabilities.h"
#include "kernel/netns.h"
#include "net/fd_passing.h"
#include "net/socket.h"

namespace shunt {
namespace {

Result<Record> receive_from_holder(int channel) {
  auto record = SHUNT_TRY(receive_record(channel));
  if (record.bytes.empty()) {
    return Failure(make_error(Kind::runtime, "the process that makes the namespace died"));
  }
  if (record.bytes.front() == kFailed) return Failure(error_from_record(record.bytes.substr(1)));
  return record;
}

/// Binds a queue that the holder made the socket for. Where that fails nobody reads it, and its
/// packets pass.
std::optional<Hold> bind_hold(UniqueFd socket, unsigned worker, std::string& why_not) {
  auto queue = PacketQueue::create(std::move(socket), {.number = static_cast<std::uint16_t>(worker),
                                                       .most_packets = limits::kHeldQueuePackets,
                                                       .bytes = limits::kHeldPacketBytes});
  if (queue) return Hold{.queue = *std::move(queue), .marks = kNamespaceHoldMarks.hold()};
  why_not = queue.error().text();
  return std::nullopt;
}

Result<Listeners> receive_listeners(int channel, const CaptureNamespaceOptions& options, bool ipv6,
                                    std::string& why_not_held) {
  Listeners listeners{.workers = {}, .port = kNamespaceListenPort, .ipv6 = ipv6, .own = {}};
  for (unsigned i = 0; i < options.workers; ++i) {
    auto record = SHUNT_TRY(receive_from_holder(channel));
    ListenerSet set;
    if (record.bytes.back() == kWithQueue && !record.fds.empty()) {
      set.hold = bind_hold(std::move(record.fds.front()), i, why_not_held);
      record.fds.erase(record.fds.begin());
    }
    const std::size_t tcp = ipv6 ? 2 : 1;
    for (std::size_t k = 0; k < record.fds.size(); ++k) {
      (k < tcp ? set.tcp : set.udp).push_back(std::move(record.fds[k]));
    }
    listeners.workers.push_back(std::move(set));
  }
  std::vector<Address> addresses{Address::loopback(Family::ipv4)};
  if (ipv6) addresses.push_back(Address::loopback(Family::ipv6));
  listeners.own = own_endpoints(addresses, kNamespaceListenPort, udp_listeners(options));
  return listeners;
}

}  // namespace

/// Asks the holder for sockets, some at a time, and binds them here: binding needs no more than to
/// be the owner of the namespace's user namespace. Any thread.
class CaptureNamespace::Holder final : public ReplySockets {
 public:
  explicit Holder(UniqueFd channel) : channel_(std::move(channel)) {}

  Result<UniqueFd> bound(const Endpoint& source) override {
    auto fd = SHUNT_TRY(take(source.address.family(), 'u'));
    auto done = bind_to(fd.get(), source);
    if (!done) return put_back(source.address.family(), 'u', std::move(fd), done.error());
    return fd;
  }

  Result<UniqueFd> raw(const Address& source) override {
    auto fd = SHUNT_TRY(take(source.family(), 'r'));
    auto done = bind_to(fd.get(), Endpoint{.address = source, .port = 0});
    if (!done) return put_back(source.family(), 'r', std::move(fd), done.error());
    return fd;
  }

  [[nodiscard]] std::vector<int> descriptors() const override { return {channel_.get()}; }

  Result<void> change_network(const HostNetwork& host) {
    const std::lock_guard lock(mutex_);
    SHUNT_TRY(ask(kChangeNetwork + host_network_record(host)));
    return {};
  }

 private:
  static constexpr std::uint8_t kBatch = 8;

  // A worker's are in its own table.
  std::vector<UniqueFd>& pool(Family family, char type) {
    const std::size_t row = family == Family::ipv4 ? 0 : 1;
    return pools_[DescriptorTable::current()][2 * row + (type == 'r' ? 1 : 0)];
  }

  Result<UniqueFd> take(Family family, char type) {
    const std::lock_guard lock(mutex_);
    auto& ready = pool(family, type);
    if (ready.empty()) {
      const SocketRequest request{
          .family = family == Family::ipv4 ? '4' : '6', .type = type, .count = kBatch};
      std::string bytes(1, kMakeSockets);
      bytes.append(reinterpret_cast<const char*>(&request), sizeof request);
      ready = SHUNT_TRY(ask(bytes)).fds;
    }
    if (ready.empty()) return Failure(errno_error("reply socket", EMFILE));
    UniqueFd fd = std::move(ready.back());
    ready.pop_back();
    return fd;
  }

  Failure put_back(Family family, char type, UniqueFd fd, Error why) {
    const std::lock_guard lock(mutex_);
    pool(family, type).push_back(std::move(fd));
    return Failure(std::move(why));
  }

  Result<Record> ask(std::string_view request) {
    SHUNT_CHECK(send_record(channel_.get(), request));
    auto record = SHUNT_TRY(receive_record(channel_.get()));
    if (record.bytes.empty()) return Failure(errno_error("the namespace's holder is gone", EPIPE));
    if (record.bytes.front() == kFailed) {
      return Failure(error_from_record(std::string_view(record.bytes).substr(1)));
    }
    return record;
  }

  std::mutex mutex_;
  UniqueFd channel_;
  std::map<std::uint32_t, std::array<std::vector<UniqueFd>, 4>> pools_;
};

std::shared_ptr<ReplySockets> CaptureNamespace::reply_sockets() const { return channel_; }

Result<void> CaptureNamespace::change_network(const HostNetwork& host) {
  return channel_->change_network(host);
}

std::string capture_namespace_rules(const CaptureNamespaceOptions& options,
                                    const std::optional<HoldSpec>& hold) {
  NamespaceRules rules{.mark = kNamespaceMark,
                       .listen_port = kNamespaceListenPort,
                       .udp_listeners = udp_listeners(options),
                       .ipv6 = make_socket(Family::ipv6, SocketType::datagram).has_value(),
                       .own_addresses = {},
                       .name_servers = options.name_servers,
                       .hold = hold,
                       .localhost_is_host = options.localhost_is_host};
  for (const auto* family : {&options.host.ipv4, &options.host.ipv6}) {
    if (family->source) rules.own_addresses.push_back(*family->source);
  }
  return namespace_rules_text(rules);
}

Result<CaptureNamespace> CaptureNamespace::create(const CaptureNamespaceOptions& options) {
  auto [ours, theirs] = SHUNT_TRY(make_record_channel());
  const pid_t holder = ::fork();
  if (holder < 0) return Failure(errno_error("fork"));
  if (holder == 0) {
    ours.reset();
    hold_namespace(std::move(theirs), options);
  }
  theirs.reset();
  CaptureNamespace made;
  made.holder_ = holder;
  auto ready = SHUNT_TRY(receive_from_holder(ours.get()));
  if (ready.fds.size() < 2 || ready.bytes.size() < 2)
    return Failure(errno_error("descriptors from the holder", EPROTO));
  made.diag_socket_ = std::move(ready.fds[0]);
  made.door_.network = std::move(ready.fds[1]);
  if (ready.fds.size() > 2) made.door_.user = std::move(ready.fds[2]);
  made.listeners_ =
      SHUNT_TRY(receive_listeners(ours.get(), options, ready.bytes[1] == '6', made.why_not_held_));
  if (made.why_not_held_.empty()) made.why_not_held_ = ready.bytes.substr(2);
  made.channel_ = std::make_shared<Holder>(std::move(ours));
  return made;
}

Result<void> enter_capture_namespace(int network, int user) {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (user >= 0 && ::setns(user, CLONE_NEWUSER) != 0) {
    return Failure(errno_error("enter the capture's user namespace"));
  }
  if (::setns(network, CLONE_NEWNET) != 0) {
    return Failure(errno_error("enter the capture's network namespace"));
  }
  if (user >= 0) return enter_user_namespace(uid, gid);
  return drop_from_bounding_set({CAP_NET_ADMIN, CAP_SYS_ADMIN});
}

}  // namespace shunt
