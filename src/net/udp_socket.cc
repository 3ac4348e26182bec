// SPDX-License-Identifier: GPL-2.0-only
#include "net/udp_socket.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/udp_limits.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr std::size_t kBufferBytes = 64 * 1024;
static_assert(kBufferBytes > limits::kUdpDatagramBytes);

// UDP_MAX_SEGMENTS (linux/udp.h) was 64 until it became 128.
constexpr std::size_t kTrainDatagrams = 64;
// A train is one IP packet to the kernel until it is cut: 65,535 bytes with IP and UDP header.
constexpr std::size_t kTrainBytes = 65'000;

template <class T>
T control_value(const cmsghdr& header) {
  T value{};
  std::memcpy(&value, CMSG_DATA(&header), sizeof value);
  return value;
}

/// Writes one control message behind those that are there; the buffer has room for all of ours.
template <class T>
void append_control(msghdr& message, char* buffer, int level, int type, T value) {
  message.msg_control = buffer;
  auto* header = reinterpret_cast<cmsghdr*>(buffer + message.msg_controllen);
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(sizeof value);
  std::memcpy(CMSG_DATA(header), &value, sizeof value);
  message.msg_controllen += CMSG_SPACE(sizeof value);
}

/// The route or device cannot send a train (EIO: no checksum offload; EINVAL, EMSGSIZE: a segment
/// is longer than the path's MTU); the same datagrams may well go one by one.
bool refuses_train(int error) {
  return error == EIO || error == EINVAL || error == EMSGSIZE || error == EOPNOTSUPP;
}

/// The socket's queue or the device's is full: what follows would meet the same.
bool queue_full(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

void tune_udp_receive(int fd, Family family, bool trains) {
  if (trains) (void)set_option(fd, SOL_UDP, UDP_GRO, 1, "UDP_GRO");
  (void)set_option(fd, SOL_IP, IP_RECVTOS, 1, "IP_RECVTOS");
  if (family == Family::ipv6) (void)set_option(fd, SOL_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS");
}

void set_fragmentation(int fd, Family family, bool allowed) {
  if (family == Family::ipv4) {
    (void)set_option(fd, SOL_IP, IP_MTU_DISCOVER, allowed ? IP_PMTUDISC_WANT : IP_PMTUDISC_PROBE,
                     "IP_MTU_DISCOVER");
    return;
  }
  (void)set_option(fd, SOL_IPV6, IPV6_MTU_DISCOVER,
                   allowed ? IPV6_PMTUDISC_WANT : IPV6_PMTUDISC_PROBE, "IPV6_MTU_DISCOVER");
  (void)set_option(fd, SOL_IPV6, IPV6_DONTFRAG, allowed ? 0 : 1, "IPV6_DONTFRAG");
}

std::uint32_t path_mtu(int fd, Family family) {
  int mtu = 0;
  socklen_t size = sizeof mtu;
  const bool v4 = family == Family::ipv4;
  if (::getsockopt(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu, &size) != 0) return 0;
  return static_cast<std::uint32_t>(std::max(mtu, 0));
}

Result<std::unique_ptr<ReceiveBatch>> ReceiveBatch::create() {
  std::unique_ptr<ReceiveBatch> batch(new ReceiveBatch);
  void* buffers = ::mmap(nullptr, limits::kUdpBatch * kBufferBytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (buffers == MAP_FAILED) return Failure(errno_error("cannot map the datagram buffers"));
  batch->buffers_ = static_cast<char*>(buffers);
  for (std::size_t i = 0; i < limits::kUdpBatch; ++i) batch->prepare(i);
  return batch;
}

ReceiveBatch::~ReceiveBatch() {
  if (buffers_ != nullptr) ::munmap(buffers_, limits::kUdpBatch * kBufferBytes);
}

void ReceiveBatch::prepare(std::size_t index) {
  vectors_[index] = {buffers_ + index * kBufferBytes, kBufferBytes};
  msghdr& header = headers_[index].msg_hdr;
  header.msg_name = &sources_[index];
  header.msg_namelen = sizeof sources_[index];
  header.msg_iov = &vectors_[index];
  header.msg_iovlen = 1;
  header.msg_control = controls_[index].data();
  header.msg_controllen = kControlBytes;
  header.msg_flags = 0;
}

int ReceiveBatch::receive(int fd) {
  for (std::size_t i = 0; i < count_; ++i) prepare(i);  // the kernel wrote lengths into these alone
  count_ = 0;
  int received = 0;
  do {
    received = ::recvmmsg(fd, headers_.data(), limits::kUdpBatch, MSG_DONTWAIT, nullptr);
  } while (received < 0 && errno == EINTR);
  if (received < 0) return -errno;
  count_ = static_cast<std::size_t>(received);
  return received;
}

ReceiveBatch::Message ReceiveBatch::operator[](std::size_t index) const {
  Message message{{buffers_ + index * kBufferBytes, headers_[index].msg_len}};
  auto& header = const_cast<msghdr&>(headers_[index].msg_hdr);  // CMSG_NXTHDR changes nothing
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
       control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO) {
      message.segment_bytes = static_cast<std::size_t>(control_value<int>(*control));
    } else if (control->cmsg_level == SOL_IP && control->cmsg_type == IP_TOS) {
      message.tos = control_value<std::uint8_t>(*control);
    } else if (control->cmsg_level == SOL_IPV6 && control->cmsg_type == IPV6_TCLASS) {
      message.tos = static_cast<std::uint8_t>(control_value<int>(*control));
    }
  }
  return message;
}

Endpoint ReceiveBatch::source(std::size_t index) const {
  return Endpoint::from(sources_[index]).value_or(Endpoint{});
}

void split(const ReceiveBatch::Message& message, std::vector<Datagram>& into) {
  if (message.segment_bytes == 0 || message.bytes.size() <= message.segment_bytes) {
    into.push_back({message.bytes, message.tos});
    return;
  }
  for (std::size_t at = 0; at < message.bytes.size(); at += message.segment_bytes) {
    into.push_back({message.bytes.substr(at, message.segment_bytes), message.tos});
  }
}

// Neighbours in memory share an iovec: the segments of a received train are one piece again.
bool DatagramSender::append(const SendTarget& target, const Datagram& datagram, msghdr& header) {
  if (vectors_used_ + 2 > kVectors) return false;
  char* data = const_cast<char*>(datagram.payload.data());  // sendmsg does not write to it
  if (target.header.empty() && header.msg_iovlen > 0) {
    iovec& last = header.msg_iov[header.msg_iovlen - 1];
    if (static_cast<char*>(last.iov_base) + last.iov_len == data) {
      last.iov_len += datagram.payload.size();
      return true;
    }
  }
  if (!target.header.empty()) {
    vectors_[vectors_used_++] = {const_cast<char*>(target.header.data()), target.header.size()};
    ++header.msg_iovlen;
  }
  vectors_[vectors_used_++] = {data, datagram.payload.size()};
  ++header.msg_iovlen;
  return true;
}

/// Takes what can follow rest.front() in one train; yields how many datagrams the train has.
std::size_t DatagramSender::grow_train(const SendTarget& target, std::span<const Datagram> rest,
                                       msghdr& header) {
  const Datagram& first = rest.front();
  const std::size_t longest = first.payload.size();
  std::size_t total = longest + target.header.size();
  std::size_t taken = 1;
  while (taken < rest.size() && taken < kTrainDatagrams) {
    const Datagram& next = rest[taken];
    const std::size_t size = next.payload.size();
    total += size + target.header.size();
    if (size == 0 || size > longest || next.tos != first.tos || total > kTrainBytes) break;
    if (!append(target, next, header)) break;
    ++taken;
    if (size < longest) break;  // a shorter one ends the train
  }
  return taken;
}

void DatagramSender::add_controls(const SendTarget& target, const Datagram& first,
                                  std::size_t segments, std::size_t index) {
  msghdr& header = headers_[index].msg_hdr;
  char* buffer = controls_[index].data();
  if (segments > 1) {
    const auto size = static_cast<std::uint16_t>(first.payload.size() + target.header.size());
    append_control(header, buffer, SOL_UDP, UDP_SEGMENT, size);
  }
  if (first.tos != 0) {
    const bool v4 = target.family == Family::ipv4;
    append_control(header, buffer, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TOS : IPV6_TCLASS,
                   static_cast<int>(first.tos));
  }
  if (target.from == nullptr) return;
  if (target.family == Family::ipv4) {
    in_pktinfo source{};
    source.ipi_spec_dst = target.from->v4();
    append_control(header, buffer, SOL_IP, IP_PKTINFO, source);
  } else {  // the kernel takes a mapped one for IPv4 on a dual-stack socket (ip_cmsg_send())
    append_control(header, buffer, SOL_IPV6, IPV6_PKTINFO,
                   in6_pktinfo{.ipi6_addr = target.from->v6(), .ipi6_ifindex = 0});
  }
}

/// Fills headers_ from the front of `datagrams`; yields how many messages there are.
unsigned DatagramSender::build(const SendTarget& target, std::span<const Datagram> datagrams,
                               bool trains) {
  vectors_used_ = 0;
  unsigned messages = 0;
  std::size_t next = 0;
  while (next < datagrams.size() && messages < limits::kUdpBatch) {
    msghdr& header = headers_[messages].msg_hdr;
    header = {};
    header.msg_iov = vectors_.data() + vectors_used_;
    if (!append(target, datagrams[next], header)) break;
    std::size_t taken = 1;
    if (trains && !datagrams[next].payload.empty()) {
      taken = grow_train(target, datagrams.subspan(next), header);
    }
    if (target.to != nullptr) {
      header.msg_name = const_cast<sockaddr*>(target.to->get());
      header.msg_namelen = target.to->size();
    }
    add_controls(target, datagrams[next], taken, messages);
    datagrams_in_[messages++] = taken;
    next += taken;
  }
  return messages;
}

// A connected socket reports an ICMP error of an earlier datagram once, instead of sending: the
// same datagram is then tried a second time.
SendOutcome DatagramSender::send(SendTarget& target, std::span<const Datagram> datagrams) {
  SendOutcome outcome;
  bool trains = target.trains != nullptr && *target.trains;
  bool retried = false;
  std::size_t next = 0;
  while (next < datagrams.size()) {
    const unsigned messages = build(target, datagrams.subspan(next), trains);
    const int sent = ::sendmmsg(target.fd, headers_.data(), messages, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      for (std::size_t i = 0; i < static_cast<std::size_t>(sent); ++i) {
        for (std::size_t j = 0; j < datagrams_in_[i]; ++j) {
          outcome.bytes += datagrams[next++].payload.size();
          ++outcome.datagrams;
        }
      }
      retried = false;
      continue;
    }
    if (errno == EINTR) continue;
    if (datagrams_in_[0] > 1 && refuses_train(errno)) {
      trains = false;
      if (errno != EMSGSIZE && target.trains != nullptr) *target.trains = false;
      continue;
    }
    outcome.error = errno;
    if (queue_full(errno)) break;
    if (retried) ++next;
    retried = !retried;
  }
  return outcome;
}

}  // namespace shunt
