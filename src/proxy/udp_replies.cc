// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/udp_replies.h"

#include <sys/socket.h>

#include <cerrno>

#include "base/counters.h"
#include "base/udp_limits.h"
#include "net/socket.h"

namespace shunt {
namespace {

// A train shorter than this saves less than binding a socket costs.
constexpr std::size_t kWorthwhileTrain = 4;
constexpr int kRawSendBufferBytes = 4 * 1024 * 1024;  // shared by every source
constexpr Tick kTicksPerSecond = 1000 / kTickMs;

}  // namespace

UdpReplies::UdpReplies(EventLoop& loop, std::shared_ptr<ReplySockets> sockets, FdBudget* fds,
                       std::size_t most_bound)
    : loop_(loop),
      sockets_(std::move(sockets)),
      fds_(fds),
      most_bound_(most_bound),
      sweep_(this, &UdpReplies::sweep) {}

UdpReplies::~UdpReplies() {
  while (!bound_.empty()) give_up(bound_.begin());
}

RawUdp& UdpReplies::raw(Family family) {
  const auto index = static_cast<std::size_t>(family);
  RawUdp& found = raw_[index];
  if (found.valid() || raw_tried_[index]) return found;
  raw_tried_[index] = true;
  auto fd = sockets_->raw(nobodys_address(family));
  if (!fd) {
    warnings_.warn("UDP replies hold the ports they come from: " + fd.error().text());
    return found;
  }
  // The default would be filled by one slow client's queue and make the others lose theirs.
  if (!set_option(fd->get(), SOL_SOCKET, SO_SNDBUFFORCE, kRawSendBufferBytes, "SO_SNDBUFFORCE")) {
    (void)set_option(fd->get(), SOL_SOCKET, SO_SNDBUF, kRawSendBufferBytes, "SO_SNDBUF");
  }
  return found = RawUdp(*std::move(fd), family);
}

void UdpReplies::give_up(BoundList::iterator entry) {
  if (entry->fd.valid() && fds_ != nullptr) fds_->give_back_udp(1);
  by_source_.erase(entry->source);
  bound_.erase(entry);
}

UdpReplies::Bound* UdpReplies::bind_new(const Endpoint& source) {
  if (bound_.size() >= most_bound_) {
    count(Counter::udp_replies_evicted);
    give_up(bound_.begin());
  }
  Bound entry{.source = source, .fd = {}, .last_used = loop_.now_tick()};
  const bool raw_available = raw(source.address.family()).valid();
  if (fds_ == nullptr || fds_->take_for_udp(1)) {
    auto fd = sockets_->bound(source);
    if (fd) {
      entry.fd = *std::move(fd);
    } else {
      if (fds_ != nullptr) fds_->give_back_udp(1);
      if (!raw_available) warnings_.warn("no socket for UDP replies: " + fd.error().text());
    }
  }
  bound_.push_back(std::move(entry));
  by_source_.emplace(source, std::prev(bound_.end()));
  if (!sweep_.armed()) loop_.timers().arm(sweep_, loop_.in(limits::kUdpReplyIdleMs));
  return &bound_.back();
}

/// The source's bound socket, made when it is `worthwhile`; null where there is none.
UdpReplies::Bound* UdpReplies::bound(const Endpoint& source, bool worthwhile) {
  const auto found = by_source_.find(source);
  if (found == by_source_.end() && !worthwhile) return nullptr;
  Bound* entry = nullptr;
  if (found == by_source_.end()) {
    entry = bind_new(source);
  } else {
    bound_.splice(bound_.end(), bound_, found->second);
    entry = &*found->second;
  }
  // Not renewed by single datagrams, so that a port is held no longer than trains come; nor where
  // binding failed, so that it is tried again.
  if (worthwhile && entry->fd.valid()) entry->last_used = loop_.now_tick();
  return entry->fd.valid() ? entry : nullptr;
}

SendOutcome UdpReplies::send(const Way& way, std::span<const Datagram> datagrams) {
  const Family family = way.client.address.family();
  RawUdp& fallback = raw(family);
  const bool worthwhile = datagrams.size() >= kWorthwhileTrain && !way.hairpin;
  Bound* socket = bound(way.source, worthwhile || !fallback.valid());
  if (socket == nullptr) {
    if (!fallback.valid()) return {.datagrams = 0, .bytes = 0, .error = EADDRNOTAVAIL};
    return fallback.send({.source = way.source,
                          .destination = way.client,
                          .fragment = way.fragment,
                          .mark = way.hairpin ? sockets_->hairpin_mark() : 0},
                         datagrams);
  }
  if (socket->fragments != way.fragment) {
    set_fragmentation(socket->fd.get(), family, socket->fragments = way.fragment);
  }
  const SocketAddress to(way.client);
  SendTarget target{
      .fd = socket->fd.get(), .family = family, .to = &to, .header = {}, .trains = &socket->trains};
  return sender_.send(target, datagrams);
}

bool UdpReplies::may_report() {
  const Tick window = loop_.now_tick() / kTicksPerSecond;
  if (window != report_window_) reports_in_window_ = 0;
  report_window_ = window;
  return ++reports_in_window_ <= limits::kUdpErrorsPerSecond;
}

void UdpReplies::report(Undeliverable what, const Endpoint& client, const Endpoint& destination,
                        std::uint32_t mtu) {
  if (!may_report()) return;
  RawUdp& socket = raw(client.address.family());
  if (socket.valid()) (void)socket.report(what, client, destination, mtu);
}

void UdpReplies::sweep(Timer& timer) {
  auto& self = *static_cast<Sweep&>(timer).owner;
  const Tick idle = limits::kUdpReplyIdleMs / kTickMs;
  for (auto entry = self.bound_.begin(); entry != self.bound_.end();) {
    const auto next = std::next(entry);
    if (self.loop_.now_tick() - entry->last_used >= idle) self.give_up(entry);
    entry = next;
  }
  if (!self.bound_.empty() && !self.loop_.cancelled()) {
    self.loop_.timers().arm(self.sweep_, self.loop_.in(limits::kUdpReplyIdleMs / 2));
  }
}

}  // namespace shunt
