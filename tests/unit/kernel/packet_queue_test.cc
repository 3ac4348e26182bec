// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/packet_queue.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <string>

#include "in_namespace.h"
#include "kernel/links.h"
#include "kernel/nft.h"
#include "kernel/queue_rule.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr PacketQueueOptions kOptions{.number = 77, .most_packets = 16, .bytes = 64};

const std::array<ChainQueueRule, 1> kRules{{{.chain = "hold", .rule = {.first = 77}}}};

constexpr std::string_view kTable =
    "  chain out {\n    type filter hook output priority 0\n"
    "    meta l4proto udp udp dport 9 goto hold\n  }\n  chain hold {\n  }\n";

/// A datagram to port 9 of this machine.
bool send_datagram() {
  const auto socket = make_socket(Family::ipv4, SocketType::datagram);
  const SocketAddress to(Endpoint{Address::loopback(Family::ipv4), 9});
  return socket && ::sendto(socket->get(), "x", 1, 0, to.get(), to.size()) == 1;
}

Result<PacketQueue> open_queue() {
  auto socket = SHUNT_TRY(PacketQueue::make_socket());
  return PacketQueue::create(std::move(socket), kOptions);
}

std::vector<QueuedPacket> wait_for_packets(PacketQueue& queue) {
  pollfd waiting{.fd = queue.fd(), .events = POLLIN, .revents = 0};
  ::poll(&waiting, 1, 5000);
  const auto packets = queue.receive().packets;
  return {packets.begin(), packets.end()};
}

/// Behind the queue: only what bears kMark comes in.
constexpr std::string_view kMarkedAlone =
    "  chain in {\n    type filter hook input priority 0\n"
    "    udp dport 9 meta mark != 5 drop\n  }\n";
constexpr std::uint32_t kMark = 5;

/// What nft has no text for is appended to what it loaded.
Result<NftTable> queueing_table(std::string_view more = "") {
  auto table = SHUNT_TRY(NftTable::create("queueing", std::string(kTable) + std::string(more)));
  SHUNT_CHECK(append_queue_targets(table.context(), "queueing", kRules));
  return table;
}

/// How many packets wait for a verdict: the third column, after the queue and who reads it
/// (seq_show() in nfnetlink_queue.c). -1: nobody reads it.
int waiting_packets() {
  std::ifstream queues("/proc/thread-self/net/netfilter/nfnetlink_queue");
  int number = 0;
  unsigned reader = 0;
  int waiting = 0;
  std::string rest;
  while (queues >> number >> reader >> waiting && std::getline(queues, rest)) {
    if (number == kOptions.number) return waiting;
  }
  return -1;
}

TEST(PacketQueue, hands_a_packet_over_and_lets_it_go_on_with_another_mark) {
  run_in_test_namespace([](Checks& checks) {
    if (!checks.ok(set_link_up("lo"), "lo")) return;
    auto queue = open_queue();
    if (!checks.ok(queue, "queue")) return;
    auto table = queueing_table(kMarkedAlone);
    if (!checks.ok(table, "table")) return;
    const auto receiver = make_socket(Family::ipv4, SocketType::datagram);
    checks.that(receiver && bind_to(receiver->get(), {Address::loopback(Family::ipv4), 9}), "bind");
    checks.that(send_datagram(), "send");
    const auto packets = wait_for_packets(*queue);
    checks.that(packets.size() == 1, "one packet");
    if (packets.size() != 1) return;
    checks.that(packets[0].bytes.size() == 29, "an IP header, a UDP header and a byte");
    queue->accept(packets[0], kMark);
    pollfd waiting{.fd = receiver->get(), .events = POLLIN, .revents = 0};
    checks.that(::poll(&waiting, 1, 5000) == 1, "it arrives");
  });
}

TEST(PacketQueue, drops_what_it_is_told_to) {
  run_in_test_namespace([](Checks& checks) {
    checks.ok(set_link_up("lo"), "lo");
    auto queue = open_queue();
    auto table = queueing_table();
    if (!checks.ok(queue, "queue") || !checks.ok(table, "table")) return;
    const auto receiver = make_socket(Family::ipv4, SocketType::datagram);
    checks.that(receiver && bind_to(receiver->get(), {Address::loopback(Family::ipv4), 9}), "bind");
    checks.that(send_datagram(), "send");
    const auto packets = wait_for_packets(*queue);
    checks.that(packets.size() == 1, "one packet");
    if (packets.size() != 1) return;
    checks.that(waiting_packets() == 1, "it waits");
    queue->drop(packets[0]);
    checks.that(waiting_packets() == 0, "it waits no longer");
    queue->close();
    checks.that(send_datagram(), "send another, past the queue that nobody reads");
    pollfd waiting{.fd = receiver->get(), .events = POLLIN, .revents = 0};
    ::poll(&waiting, 1, 5000);
    char byte = 0;
    checks.that(::recv(receiver->get(), &byte, 1, MSG_DONTWAIT) == 1, "the second arrives");
    checks.that(::recv(receiver->get(), &byte, 1, MSG_DONTWAIT) < 0, "the first does not");
  });
}

TEST(PacketQueue, of_somebody_else_is_a_conflict) {
  run_in_test_namespace([](Checks& checks) {
    const auto first = open_queue();
    const auto second = open_queue();
    checks.ok(first, "first");
    checks.that(!second && second.error().kind == Kind::conflict, "second");
    const auto in_use = queues_in_use();
    checks.that(std::ranges::find(in_use, 77) != in_use.end(), "seen in use");
  });
}

TEST(FreeQueues, are_not_in_use) {
  run_in_test_namespace([](Checks& checks) {
    const auto before = free_queues(4);
    if (!checks.ok(before, "before")) return;
    auto socket = PacketQueue::make_socket();
    PacketQueueOptions options = kOptions;
    options.number = static_cast<std::uint16_t>(*before + 2);
    const auto queue = PacketQueue::create(std::move(*socket), options);
    checks.ok(queue, "queue");
    const auto after = free_queues(4);
    checks.that(after && (*after + 4 <= options.number || *after > options.number), "avoids it");
  });
}

TEST(QueueTarget, into_a_chain_that_is_not_there_is_an_error) {
  run_in_test_namespace([](Checks& checks) {
    auto table = NftTable::create("queueing", kTable);
    if (!checks.ok(table, "table")) return;
    const std::array<ChainQueueRule, 2> partly{{kRules[0], {.chain = "none", .rule = {}}}};
    checks.that(!append_queue_targets(table->context(), "queueing", partly), "no such chain");
    const std::array<ChainQueueRule, 2> turned{{partly[1], partly[0]}};
    checks.that(!append_queue_targets(table->context(), "queueing", turned), "whichever is first");
    const auto listed = table->run("list chain inet queueing hold\n");
    checks.that(listed && !listed->contains("num 77"), "all or none");
    checks.ok(append_queue_targets(table->context(), "queueing", kRules), "and the next one works");
    checks.ok(table->run("list table inet queueing\n"), "as does nft after it");
  });
}

}  // namespace
}  // namespace shunt
