// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/packet_queue.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "base/error_numbers.h"
#include "kernel/netlink.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr std::uint16_t kConfigure = (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_CONFIG;
constexpr std::uint16_t kVerdict = (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_VERDICT;
// A head of a packet, and some 150 bytes of attributes.
constexpr std::size_t kMessageBytes = 1024;
constexpr int kReceiveBufferBytes = 4 * 1024 * 1024;
constexpr std::uint16_t kFirstNumber = 0x5300;
constexpr std::uint16_t kNumberStep = 0x40;
constexpr std::uint16_t kLastNumber = 0xff00;

template <class T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

/// The number of the queue stands where other nfnetlink messages have their resource.
nfgenmsg queue_header(std::uint16_t number) {
  return {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(number)};
}

Result<void> bind_queue(NetlinkSocket& socket, const PacketQueueOptions& options) {
  NetlinkMessage message(kConfigure, 0);
  message.put_header<nfgenmsg>() = queue_header(options.number);
  nfqnl_msg_config_cmd command{};
  command.command = NFQNL_CFG_CMD_BIND;
  message.put(NFQA_CFG_CMD, bytes_of(command));
  auto bound = socket.request(message, fmt::format("bind packet queue {}", options.number));
  if (bound) return {};
  // EBUSY: this socket has it already; EPERM: another one has (nfqnl_recv_config()), or no right.
  Error error = std::move(bound).error();
  if (error.os_error == EBUSY || error.os_error == EPERM) error.kind = Kind::conflict;
  error.number = error_number::kQueueTaken;
  return Failure(std::move(error));
}

Result<void> configure(NetlinkSocket& socket, const PacketQueueOptions& options) {
  NetlinkMessage message(kConfigure, 0);
  message.put_header<nfgenmsg>() = queue_header(options.number);
  nfqnl_msg_config_params params{};
  params.copy_range = htonl(options.bytes);
  params.copy_mode = NFQNL_COPY_PACKET;
  message.put(NFQA_CFG_PARAMS, bytes_of(params));
  message.put_u32(NFQA_CFG_QUEUE_MAXLEN, htonl(options.most_packets));
  // A packet that the network card merged stays whole: only its head is looked at.
  constexpr std::uint32_t kFlags = NFQA_CFG_F_FAIL_OPEN | NFQA_CFG_F_GSO;
  message.put_u32(NFQA_CFG_FLAGS, htonl(kFlags));
  message.put_u32(NFQA_CFG_MASK, htonl(kFlags));
  return socket.request(message, fmt::format("configure packet queue {}", options.number));
}

/// A verdict as it is sent: all parts are multiples of four bytes.
struct VerdictMessage {
  nlmsghdr header;
  nfgenmsg queue;
  nlattr verdict_attribute;
  nfqnl_msg_verdict_hdr verdict;
  nlattr mark_attribute;
  std::uint32_t mark;
};
static_assert(sizeof(VerdictMessage) == 40);

}  // namespace

struct PacketQueue::Buffers {
  std::array<std::array<char, kMessageBytes>, kBatch> bytes;
  std::array<iovec, kBatch> pieces;
  std::array<mmsghdr, kBatch> messages;
};

Result<UniqueFd> PacketQueue::make_socket() {
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_NETFILTER));
  return std::move(socket).release();
}

PacketQueue::PacketQueue(UniqueFd socket, std::uint16_t number)
    : socket_(std::move(socket)), number_(number), buffers_(std::make_shared<Buffers>()) {
  for (std::size_t i = 0; i < kBatch; ++i) {
    buffers_->pieces[i] = {.iov_base = buffers_->bytes[i].data(), .iov_len = kMessageBytes};
    buffers_->messages[i] = {};
    buffers_->messages[i].msg_hdr.msg_iov = &buffers_->pieces[i];
    buffers_->messages[i].msg_hdr.msg_iovlen = 1;
  }
  packets_.reserve(kBatch);
}

Result<PacketQueue> PacketQueue::create(UniqueFd fd, const PacketQueueOptions& options) {
  NetlinkSocket socket = NetlinkSocket::adopt(std::move(fd));
  SHUNT_CHECK(bind_queue(socket, options));
  SHUNT_CHECK(configure(socket, options));
  // A full receive buffer lets the packet pass (fail open); it is no reason for the socket to fail
  // as well (netlink(7), NETLINK_NO_ENOBUFS).
  const int on = 1;
  (void)::setsockopt(socket.fd(), SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);
  constexpr int kBytes = kReceiveBufferBytes;
  if (!set_option(socket.fd(), SOL_SOCKET, SO_RCVBUFFORCE, kBytes, "SO_RCVBUFFORCE")) {
    (void)set_option(socket.fd(), SOL_SOCKET, SO_RCVBUF, kBytes, "SO_RCVBUF");
  }
  return PacketQueue(std::move(socket).release(), options.number);
}

PacketQueue::Received PacketQueue::receive() {
  packets_.clear();
  int got = -1;
  do {
    got = ::recvmmsg(socket_.get(), buffers_->messages.data(), kBatch, MSG_DONTWAIT, nullptr);
  } while (got < 0 && errno == EINTR);
  for (int i = 0; i < got; ++i) {
    const auto index = static_cast<std::size_t>(i);
    QueueMessages messages({buffers_->bytes[index].data(), buffers_->messages[index].msg_len});
    while (const auto packet = messages.next()) packets_.push_back(*packet);
  }
  return {.packets = packets_, .more = got == static_cast<int>(kBatch)};
}

void PacketQueue::accept(const QueuedPacket& packet, std::uint32_t mark) {
  verdict(packet, NF_ACCEPT, mark);
}

void PacketQueue::repeat(const QueuedPacket& packet, std::uint32_t mark) {
  verdict(packet, NF_REPEAT, mark);
}

void PacketQueue::drop(const QueuedPacket& packet) { verdict(packet, NF_DROP, packet.mark); }

// Without an acknowledgement: it would cost a system call to read.
void PacketQueue::verdict(const QueuedPacket& packet, std::uint32_t what, std::uint32_t mark) {
  VerdictMessage message{};
  message.header = {.nlmsg_len = sizeof message,
                    .nlmsg_type = kVerdict,
                    .nlmsg_flags = NLM_F_REQUEST,
                    .nlmsg_seq = 0,
                    .nlmsg_pid = 0};
  message.queue = queue_header(number_);
  message.verdict_attribute = {.nla_len = sizeof(nlattr) + sizeof message.verdict,
                               .nla_type = NFQA_VERDICT_HDR};
  message.verdict.verdict = htonl(what);
  message.verdict.id = htonl(packet.id);
  message.mark_attribute = {.nla_len = sizeof(nlattr) + sizeof message.mark, .nla_type = NFQA_MARK};
  message.mark = htonl(mark);
  (void)::send(socket_.get(), &message, sizeof message, MSG_DONTWAIT);
}

// nfnetlink_queue.c, seq_show(): the number is the first column.
std::vector<std::uint16_t> queues_in_use() {
  std::vector<std::uint16_t> numbers;
  std::ifstream file("/proc/thread-self/net/netfilter/nfnetlink_queue");
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::uint16_t number = 0;
    if (fields >> number) numbers.push_back(number);
  }
  return numbers;
}

Result<std::uint16_t> free_queues(unsigned count) {
  const auto taken = queues_in_use();
  for (unsigned first = kFirstNumber; first + count <= kLastNumber; first += kNumberStep) {
    const bool free = std::ranges::none_of(
        taken, [&](std::uint16_t number) { return number >= first && number < first + count; });
    if (free) return static_cast<std::uint16_t>(first);
  }
  return Failure(make_error(Kind::conflict, error_number::kQueueTaken,
                            "others read so many packet queues that none is left",
                            "cat /proc/net/netfilter/nfnetlink_queue: who reads them?"));
}

}  // namespace shunt
