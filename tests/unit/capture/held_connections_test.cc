// SPDX-License-Identifier: GPL-2.0-only
#include "capture/held_connections.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel/links.h"
#include "kernel/nft.h"
#include "kernel/queue_rule.h"
#include "net/socket.h"
#include "unit/kernel/in_namespace.h"

namespace shunt {
namespace {

constexpr std::uint16_t kQueue = 77;
constexpr HoldMarks kMarks{.mask = 0xf,
                           .held = 8,
                           .own = 9,
                           .reset = 1,
                           .host_unreachable = 2,
                           .network_unreachable = 3,
                           .missed = 4};
constexpr std::string_view kTable =
    "  chain out {\n    type filter hook output priority 0\n"
    "    tcp dport 9 tcp flags & (syn | ack) == syn goto hold\n  }\n  chain hold {\n  }\n"
    "  chain after {\n    type filter hook output priority 10\n"
    "    meta mark & 0xf == 1 reject with tcp reset\n"
    "    meta mark & 0xf == 2 reject with icmpx host-unreachable\n  }\n";

const Endpoint kServer{Address::loopback(Family::ipv4), 9};

/// In a network namespace: a server that listens, clients whose SYNs are queued, and what holds
/// them.
class Scene {
 public:
  explicit Scene(Checks& checks) : checks_(checks), loop_(std::move(EventLoop::create()).value()) {
    checks_.ok(set_link_up("lo"), "lo");
    listener_ = std::move(make_socket(Family::ipv4, SocketType::stream)).value();
    checks_.that(bind_to(listener_.get(), kServer) && ::listen(listener_.get(), 8) == 0, "listen");
    auto socket = PacketQueue::make_socket();
    if (!checks_.ok(socket, "netlink")) return;
    auto queue = PacketQueue::create(*std::move(socket),
                                     {.number = kQueue, .most_packets = 16, .bytes = 128});
    table_ = NftTable::create("holding", kTable);
    if (!checks_.ok(queue, "queue") || !checks_.ok(*table_, "table")) return;
    const ChainQueueRule rule{.chain = "hold", .rule = {.first = kQueue}};
    checks_.ok(append_queue_targets((*table_)->context(), "holding", {&rule, 1}), "rule");
    held_.emplace(*loop_, Hold{.queue = *std::move(queue), .marks = kMarks},
                  HeldConnections::Callbacks{
                      .take_room = [this] { return room; },
                      .start = [this](Captured captured) { came.push_back(std::move(captured)); },
                      .accept = [this](Family) { return accept(); }});
  }

  /// Runs what happens, a coroutine, to its end.
  void play(std::function<Task<>(Scene&)> what) {
    if (!held_) return;
    spawn(held_->run());
    spawn(to_the_end(std::move(what)));
    checks_.ok(loop_->run(), "loop");
  }

  UniqueFd connect() {
    auto fd = std::move(make_socket(Family::ipv4, SocketType::stream)).value();
    const SocketAddress to(kServer);
    that(::connect(fd.get(), to.get(), to.size()) != 0 && errno == EINPROGRESS, "connect begins");
    return fd;
  }
  /// The next client that is held.
  Task<std::optional<Captured>> next() {
    co_await until([this] { return !came.empty(); });
    if (came.empty()) {
      that(false, "nobody is held");
      co_return std::nullopt;
    }
    Captured first = std::move(came.front());
    came.erase(came.begin());
    co_return first;
  }
  Task<> until(std::function<bool()> condition) {
    for (int i = 0; i < 500 && !condition(); ++i) (void)co_await loop_->sleep(10);
  }
  bool accept() {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    UniqueFd fd(::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&peer), &size,
                          SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) return false;
    if (!held_->claim(Endpoint::from(peer).value_or(Endpoint{}), kServer, fd)) ++unclaimed;
    return true;
  }
  void that(bool condition, std::string_view what) { checks_.that(condition, what); }
  HeldConnections& held() { return *held_; }

  bool room = true;
  std::vector<Captured> came;
  int unclaimed = 0;

 private:
  Task<> to_the_end(std::function<Task<>(Scene&)> what) {
    co_await what(*this);
    held_->close();
    came.clear();
    (void)co_await loop_->sleep(1);
    loop_->stop();
  }

  Checks& checks_;
  std::unique_ptr<EventLoop> loop_;
  UniqueFd listener_;
  std::optional<Result<NftTable>> table_;
  std::optional<HeldConnections> held_;
};

void play(Task<> (*what)(Scene&)) {
  run_in_test_namespace([what](Checks& checks) { Scene(checks).play(what); });
}

bool is_connected(int fd) { return peer_endpoint(fd).has_value(); }

TEST(HeldConnections, admits_a_client_once_its_server_has_answered) {
  play([](Scene& scene) -> Task<> {
    const UniqueFd client = scene.connect();
    auto held = co_await scene.next();
    if (!held) co_return;
    scene.that(held->flow.original_destination == kServer, "where it was going");
    scene.that(held->client->peekable_fd() < 0, "nothing can be peeked at");
    scene.that(!is_connected(client.get()), "it waits");
    const auto fd = co_await held->client->admit();
    scene.that(fd.has_value() && is_connected(client.get()), "it is connected");
    scene.that(scene.unclaimed == 0 && scene.held().awaited() == 0, "and is waited for no more");
  });
}

TEST(HeldConnections, refuses_a_client_with_the_true_error) {
  play([](Scene& scene) -> Task<> {
    for (const auto& [reason, error] : {std::pair{ConnectReason::refused, ECONNREFUSED},
                                        std::pair{ConnectReason::host_unreachable, EHOSTUNREACH}}) {
      const UniqueFd client = scene.connect();
      auto held = co_await scene.next();
      if (!held) co_return;
      held->client->refuse({.reason = reason, .os_error = 0, .detail = {}});
      int told = 0;
      co_await scene.until([&] { return (told = pending_error(client.get())) != 0; });
      scene.that(told == error, "the error");
    }
  });
}

TEST(HeldConnections, lets_in_first_who_has_no_room) {
  play([](Scene& scene) -> Task<> {
    scene.room = false;
    const UniqueFd client = scene.connect();
    co_await scene.until([&] { return scene.accept(); });
    scene.that(scene.came.empty() && scene.unclaimed == 1, "a flow like those of other captures");
    scene.that(is_connected(client.get()), "it is connected");
  });
}

TEST(HeldConnections, takes_who_came_by_himself_for_the_one_that_is_held) {
  play([](Scene& scene) -> Task<> {
    const UniqueFd client = scene.connect();
    auto held = co_await scene.next();
    if (!held) co_return;
    UniqueFd accepted = std::move(make_socket(Family::ipv4, SocketType::stream)).value();
    const int number = accepted.get();
    scene.that(scene.held().claim(held->flow.source, kServer, accepted), "claimed");
    UniqueFd another = std::move(make_socket(Family::ipv4, SocketType::stream)).value();
    scene.that(!scene.held().claim(held->flow.source, kServer, another), "once");
    scene.that(held->client->peekable_fd() == number, "can be peeked at");
    const auto fd = co_await held->client->admit();
    scene.that(fd && fd->get() == number, "is what is admitted");
  });
}

TEST(HeldConnections, turns_clients_away_in_silence_when_it_closes) {
  play([](Scene& scene) -> Task<> {
    const UniqueFd client = scene.connect();
    auto held = co_await scene.next();
    if (!held) co_return;
    scene.held().close();
    const auto fd = co_await held->client->admit();
    scene.that(!fd && fd.error().reason == ConnectReason::cancelled, "the flow is cancelled");
    scene.that(pending_error(client.get()) == 0, "the client is told nothing");
  });
}

TEST(HeldConnections, forgets_a_client_with_its_flow) {
  play([](Scene& scene) -> Task<> {
    const UniqueFd client = scene.connect();
    auto held = co_await scene.next();
    if (!held) co_return;
    const Endpoint source = held->flow.source;
    held.reset();
    UniqueFd accepted = std::move(make_socket(Family::ipv4, SocketType::stream)).value();
    scene.that(!scene.held().claim(source, kServer, accepted), "nobody waits for it");
    scene.that(!is_connected(client.get()), "it was not let in");
  });
}

}  // namespace
}  // namespace shunt
