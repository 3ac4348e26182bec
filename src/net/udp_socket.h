// SPDX-License-Identifier: GPL-2.0-only
// Datagrams in batches. One system call receives up to limits::kUdpBatch messages and one sends as
// many. A message may be a train: datagrams of one flow and one size (the last may be shorter) that
// the kernel hands over as one (UDP_GRO) and takes as one (UDP_SEGMENT, udp(7)), which is eight to
// nine times cheaper for the bulk of QUIC. Users see single datagrams and where each ends.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/udp_limits.h"
#include "net/endpoint.h"

namespace shunt {

struct Datagram {
  std::string_view payload;
  std::uint8_t tos = 0;  ///< DSCP and ECN bits, passed on as they came
};

/// Asks for trains (UDP_GRO) and for the TOS byte of what arrives. Failures cost speed only.
void tune_udp_receive(int fd, Family family, bool trains);
/// Whether datagrams may be fragmented here once the path is known to be narrow (the default), or
/// leave whole or not at all, as QUIC wants it (RFC 9000 section 14: IP_PMTUDISC_PROBE).
void set_fragmentation(int fd, Family family, bool allowed);
/// What the route of a connected socket carries, IP header included; 0 when not known.
[[nodiscard]] std::uint32_t path_mtu(int fd, Family family);

/// Receives into buffers of its own, which stay valid until the next receive().
class ReceiveBatch {
 public:
  static Result<std::unique_ptr<ReceiveBatch>> create();
  ~ReceiveBatch();
  ReceiveBatch(const ReceiveBatch&) = delete;
  ReceiveBatch& operator=(const ReceiveBatch&) = delete;

  struct Message {
    std::string_view bytes;
    std::size_t segment_bytes = 0;  ///< of a train; 0: a single datagram
    std::uint8_t tos = 0;
  };

  /// How many messages came, or -errno (-EAGAIN: none is there).
  int receive(int fd);
  /// The last receive() left nothing behind, unless a socket error is pending.
  [[nodiscard]] bool drained() const { return count_ < limits::kUdpBatch; }
  [[nodiscard]] Message operator[](std::size_t index) const;
  [[nodiscard]] Endpoint source(std::size_t index) const;
  [[nodiscard]] const msghdr& header(std::size_t index) const { return headers_[index].msg_hdr; }

 private:
  static constexpr std::size_t kControlBytes = 256;

  ReceiveBatch() = default;
  void prepare(std::size_t index);

  char* buffers_ = nullptr;  // mapped; a page is there once something long was received into it
  std::size_t count_ = 0;
  std::array<mmsghdr, limits::kUdpBatch> headers_{};
  std::array<iovec, limits::kUdpBatch> vectors_{};
  std::array<sockaddr_storage, limits::kUdpBatch> sources_{};
  alignas(cmsghdr) std::array<std::array<char, kControlBytes>, limits::kUdpBatch> controls_{};
};

/// Appends the single datagrams of a message.
void split(const ReceiveBatch::Message& message, std::vector<Datagram>& into);

struct SendTarget {
  int fd = -1;
  Family family = Family::ipv4;       ///< of the socket
  const SocketAddress* to = nullptr;  ///< null on a connected socket
  const Address* from = nullptr;      ///< of a socket bound to the wildcard; null: any
  std::string_view header;            ///< goes before each datagram
  bool* trains = nullptr;             ///< may trains be sent; cleared when the route refuses them
};

struct SendOutcome {
  std::size_t datagrams = 0;  ///< handed to the kernel
  std::size_t bytes = 0;      ///< their payload
  int error = 0;              ///< the last errno met, 0: none
};

class DatagramSender {
 public:
  /// Sends in order, forming trains. What the kernel does not take is lost, as on any full queue.
  SendOutcome send(SendTarget& target, std::span<const Datagram> datagrams);

 private:
  static constexpr std::size_t kVectors = 512;
  static constexpr std::size_t kControlBytes = 96;

  unsigned build(const SendTarget& target, std::span<const Datagram> datagrams, bool trains);
  bool append(const SendTarget& target, const Datagram& datagram, msghdr& header);
  std::size_t grow_train(const SendTarget& target, std::span<const Datagram> rest, msghdr& header);
  void add_controls(const SendTarget& target, const Datagram& first, std::size_t segments,
                    std::size_t index);

  std::size_t vectors_used_ = 0;
  std::array<mmsghdr, limits::kUdpBatch> headers_{};
  std::array<std::size_t, limits::kUdpBatch> datagrams_in_{};
  std::array<iovec, kVectors> vectors_{};
  alignas(cmsghdr) std::array<std::array<char, kControlBytes>, limits::kUdpBatch> controls_{};
};

}  // namespace shunt
