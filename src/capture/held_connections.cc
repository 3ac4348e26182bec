// SPDX-License-Identifier: GPL-2.0-only
#include "capture/held_connections.h"

#include <optional>
#include <string>
#include <vector>

#include "base/counters.h"
#include "base/limits.h"
#include "base/log.h"
#include "capture/syn_packet.h"
#include "net/network.h"
#include "net/socket.h"

namespace shunt {
namespace {

/// What the client of a failed dial is told; nothing: nothing, as by a server that is silent.
std::optional<std::uint32_t> refusing_mark(const HoldMarks& marks, ConnectReason reason) {
  switch (reason) {
    case ConnectReason::timed_out:
    case ConnectReason::cancelled:
    case ConnectReason::dropped_by_rule: return std::nullopt;
    case ConnectReason::host_unreachable: return marks.host_unreachable;
    case ConnectReason::network_unreachable: return marks.network_unreachable;
    default: return marks.reset;
  }
}

/// Whose flows count together: one host has a whole /64 of IPv6 (RFC 4291 section 2.5.1).
Address source_of(const Address& address) {
  return address.is_v4() ? address : Network::of(address, 64).address;
}

ConnectFailure not_admitted(bool stopping) {
  if (stopping) return {.reason = ConnectReason::cancelled, .os_error = 0, .detail = {}};
  return {.reason = ConnectReason::client_gone, .os_error = 0, .detail = {}};
}

}  // namespace

/// Belongs to its flow, and is known to the HeldConnections until it is admitted or turned away.
class HeldConnections::Client final : public Admission {
 public:
  Client(HeldConnections& owner, const Pair& pair, const QueuedPacket& syn, std::uint32_t sequence)
      : owner_(owner), pair_(pair), sequence_(sequence), in_interface_(syn.in_interface) {
    keep(syn);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() override { drop_silently(); }

  /// A SYN, perhaps a later one of the same client.
  void take(const QueuedPacket& syn) {
    if (awaited_) return let_in(syn);
    if (syn_) queue().drop(*syn_);
    keep(syn);
  }

  bool claim(UniqueFd& fd) {
    if (fd_.valid()) return false;
    fd_ = std::move(fd);
    if (syn_) queue().drop(*syn_);  // it repeats the one that the kernel let pass by itself
    syn_.reset();
    owner_.loop_.cancel(arrival_);
    return true;
  }

  /// Lets the client try again, later and elsewhere.
  void give_up() {
    if (syn_) queue().drop(*syn_);
    syn_.reset();
    owner_.loop_.cancel(arrival_);
  }

  Task<std::expected<UniqueFd, ConnectFailure>> admit() override {
    if (!fd_.valid() && syn_) {
      let_in(*syn_);
      syn_.reset();
      awaited_ = true;
      ++owner_.awaited_;
      accept_at_once();
      if (!fd_.valid()) (void)co_await owner_.loop_.readable(arrival_, limits::kHeldAdmitMs);
      awaited_ = false;
      --owner_.awaited_;
    }
    if (!fd_.valid()) {
      const bool stopping = owner_.closed_ || owner_.loop_.cancelled();
      if (!stopping) count(Counter::held_clients_gone);
      leave();
      co_return std::unexpected(not_admitted(stopping));
    }
    owner_.remember(pair_, sequence_);
    leave();
    co_return std::move(fd_);
  }

  void refuse(const ConnectFailure& failure) override {
    const auto mark = refusing_mark(owner_.hold_.marks, failure.reason);
    if (mark && syn_) {
      queue().accept(*syn_, with(*mark));
      syn_.reset();
    }
    if (fd_.valid()) reset_on_close(fd_.get());
    drop_silently();
  }

  UniqueFd drop() override {
    UniqueFd fd = std::move(fd_);
    drop_silently();
    return fd;
  }

  [[nodiscard]] int peekable_fd() const override { return fd_.get(); }

  [[nodiscard]] std::optional<std::string> arrival_interface() const override {
    return shunt::arrival_interface(owner_.hold_.queue.fd(), in_interface_);
  }

  [[nodiscard]] const Pair& pair() const { return pair_; }

 private:
  [[nodiscard]] PacketQueue& queue() const { return owner_.hold_.queue; }
  [[nodiscard]] std::uint32_t with(std::uint32_t mark) const {
    const HoldMarks& marks = owner_.hold_.marks;
    return (mark_ & ~marks.mask) | mark;
  }
  void keep(const QueuedPacket& syn) {
    syn_ = syn;
    syn_->bytes = {};  // they lie in the queue's buffer
    mark_ = syn.mark;
  }
  void let_in(const QueuedPacket& syn) {
    mark_ = syn.mark;
    queue().accept(syn, syn.mark);
  }
  // The handshake of a client on this machine is done before the verdict's system call returns.
  void accept_at_once() {
    const Family family = pair_.source.address.family();
    for (int i = 0; !fd_.valid() && i < limits::kAcceptBatch; ++i) {
      if (!owner_.callbacks_.accept(family)) return;
    }
  }
  void leave() {
    if (!known_) return;
    known_ = false;
    owner_.forget(*this);
  }
  void drop_silently() {
    if (syn_) queue().drop(*syn_);
    syn_.reset();
    fd_.reset();
    leave();
  }

  HeldConnections& owner_;
  Pair pair_;
  std::uint32_t sequence_;  // of the SYN, repeated ones have it as well
  std::uint32_t in_interface_;
  std::uint32_t mark_ = 0;           // of the newest SYN
  std::optional<QueuedPacket> syn_;  // that waits; without its bytes
  UniqueFd fd_;                      // accepted
  Slot arrival_{};                   // of no descriptor: somebody waits for fd_
  bool awaited_ = false;
  bool known_ = true;
};

std::size_t HeldConnections::PairHash::operator()(const Pair& pair) const {
  const EndpointHash hash;
  return hash(pair.source) * 31 + hash(pair.destination);
}

HeldConnections::HeldConnections(EventLoop& loop, Hold hold, Callbacks callbacks)
    : loop_(loop),
      hold_(std::move(hold)),
      callbacks_(std::move(callbacks)),
      let_in_(limits::kLetInRemembered) {}

HeldConnections::~HeldConnections() = default;

Task<> HeldConnections::run() {
  const auto watched = loop_.watch(hold_.queue.fd(), Slot::kReadable);
  if (!watched) {
    log(LogLevel::error, watched.error().text());
    hold_.queue.close();  // or SYNs would wait in it for ever
    closed_ = true;
    co_return;
  }
  slot_ = *watched;
  while (!closed_ && !loop_.cancelled()) {
    const auto received = hold_.queue.receive();
    for (const QueuedPacket& packet : received.packets) take(packet);
    if (received.more) {
      (void)co_await loop_.yield();
      continue;
    }
    slot_->clear(Slot::kReadable);
    (void)co_await loop_.readable(*slot_);
  }
  close();
  loop_.unwatch(hold_.queue.fd());
  slot_ = nullptr;
  hold_.queue.close();
}

void HeldConnections::take(const QueuedPacket& packet) {
  const HoldMarks& marks = hold_.marks;
  if ((packet.mark & marks.mask) == marks.missed) return hold_.queue.repeat(packet, packet.mark);
  const auto head = tcp_head(packet.bytes);
  // What cannot be read goes on and is let in first.
  if (!head || !head->syn) return hold_.queue.accept(packet, packet.mark);
  hold(packet, pair_of(head->source, head->destination), head->sequence);
}

HeldConnections::Pair HeldConnections::pair_of(Endpoint source, Endpoint destination) {
  source.scope_id = destination.scope_id = 0;
  return {.source = source, .destination = destination};
}

void HeldConnections::hold(const QueuedPacket& packet, const Pair& pair, std::uint32_t sequence) {
  if (const auto known = clients_.find(pair); known != clients_.end()) {
    return known->second->take(packet);
  }
  if (place_of(pair) == LetIn{.pair = pair, .sequence = sequence}) {
    return hold_.queue.accept(packet, packet.mark);  // to the socket that there is
  }
  if (!has_room(pair.source.address) || !callbacks_.take_room()) {
    count(Counter::held_over_cap);
    return hold_.queue.accept(packet, packet.mark);
  }
  auto client = std::make_unique<Client>(*this, pair, packet, sequence);
  clients_.emplace(pair, client.get());
  ++of_source_[source_of(pair.source.address)];
  Endpoint source = pair.source;
  if (!source.address.is_v4() && source.address.is_link_local()) {
    source.scope_id = packet.in_interface;
  }
  Captured captured;
  captured.flow = {.id = 0,
                   .protocol = Protocol::tcp,
                   .method = CaptureMethod::tproxy,
                   .source = source,
                   .original_destination = pair.destination,
                   .started = Clock::now()};
  captured.client = std::move(client);
  callbacks_.start(std::move(captured));
}

bool HeldConnections::has_room(const Address& source) const {
  if (clients_.size() >= limits::kHeldConnections) return false;
  const auto found = of_source_.find(source_of(source));
  return found == of_source_.end() || found->second < limits::kHeldPerSource;
}

void HeldConnections::forget(const Client& client) {
  clients_.erase(client.pair());
  const auto found = of_source_.find(source_of(client.pair().source.address));
  if (found != of_source_.end() && --found->second == 0) of_source_.erase(found);
}

HeldConnections::LetIn& HeldConnections::place_of(const Pair& pair) {
  return let_in_[PairHash()(pair) % let_in_.size()];
}

void HeldConnections::remember(const Pair& pair, std::uint32_t sequence) {
  place_of(pair) = {.pair = pair, .sequence = sequence};
}

bool HeldConnections::claim(const Endpoint& source, const Endpoint& destination, UniqueFd& fd) {
  const auto found = clients_.find(pair_of(source, destination));
  return found != clients_.end() && found->second->claim(fd);
}

void HeldConnections::close() {
  if (closed_) return;
  closed_ = true;
  if (slot_ != nullptr) loop_.cancel(*slot_);
  for (const auto& [pair, client] : clients_) client->give_up();
}

}  // namespace shunt
