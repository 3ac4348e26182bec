// SPDX-License-Identifier: GPL-2.0-only
// Netlink requests and dumps on libmnl. A socket acts in the network namespace it was opened in.
// Requests are made one at a time and each waits for its acknowledgement.
#pragma once

#include <libmnl/libmnl.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "net/unique_fd.h"

namespace shunt {

/// One request being built: a netlink header, a family header, attributes. Bounded; an attribute
/// that does not fit makes the request fail with EMSGSIZE.
class NetlinkMessage {
 public:
  NetlinkMessage(std::uint16_t type, std::uint16_t flags);
  NetlinkMessage(const NetlinkMessage&) = delete;
  NetlinkMessage& operator=(const NetlinkMessage&) = delete;

  /// Appends the fixed header of the message type (rtmsg, ifinfomsg, …). Once, before attributes.
  template <class Header>
  Header& put_header() {
    return *static_cast<Header*>(mnl_nlmsg_put_extra_header(header_, sizeof(Header)));
  }
  void put(std::uint16_t type, std::string_view bytes);
  void put_string(std::uint16_t type, std::string_view text);  ///< with its NUL
  void put_u8(std::uint16_t type, std::uint8_t value);
  void put_u32(std::uint16_t type, std::uint32_t value);  ///< host order
  nlattr* open_nest(std::uint16_t type);
  void close_nest(nlattr* nest);

  [[nodiscard]] nlmsghdr* header() const { return header_; }
  [[nodiscard]] bool overflown() const { return overflown_; }

 private:
  alignas(nlmsghdr) std::array<char, 4096> buffer_{};
  nlmsghdr* header_;
  bool overflown_ = false;
};

class NetlinkSocket {
 public:
  using Visitor = std::function<void(const nlmsghdr&)>;

  /// `protocol` is NETLINK_ROUTE or NETLINK_NETFILTER. Close-on-exec.
  static Result<NetlinkSocket> open(int protocol);
  /// One that was opened elsewhere, by open().
  static NetlinkSocket adopt(UniqueFd fd) { return NetlinkSocket(std::move(fd)); }
  [[nodiscard]] UniqueFd release() && { return std::move(fd_); }
  /// Joins a multicast group (RTNLGRP_*); read with receive().
  Result<void> join(unsigned group);

  /// Dumps then obey the attributes of their request, such as RTA_TABLE (NETLINK_GET_STRICT_CHK,
  /// Linux 4.20); an older kernel ignores them, so filter the answers as well.
  void filter_dumps_in_kernel();

  /// Sends and waits for the kernel's answer. The kernel's own explanation (extended ack) is put
  /// into the Error's message behind `what`.
  Result<void> request(NetlinkMessage& message, std::string_view what);
  /// The same of a request that is answered with a message before it is acknowledged.
  Result<void> request(NetlinkMessage& message, std::string_view what, const Visitor& visit);
  /// A dump: `visit` sees every message. A dump that the kernel reports as interrupted by a change
  /// is still delivered: callers that must not miss anything watch events as well.
  Result<void> dump(NetlinkMessage& message, std::string_view what, const Visitor& visit);
  /// Whatever has arrived from joined groups; returns false when the kernel had to drop some
  /// (ENOBUFS). Never blocks.
  Result<bool> receive(const Visitor& visit);

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit NetlinkSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<void> send(NetlinkMessage& message, std::string_view what);
  Result<std::size_t> read_answer(char* buffer, std::size_t size, std::string_view what);
  Result<void> exchange(NetlinkMessage& message, std::string_view what, const Visitor& visit);

  UniqueFd fd_;
  std::uint32_t sequence_ = 0;
};

/// Visits every attribute from `first` up to `end`. (libmnl's own macros are C only.)
template <class Visit>
void for_each_attribute(const void* first, const void* end, Visit visit) {
  const auto* attribute = static_cast<const nlattr*>(first);
  const auto* stop = static_cast<const char*>(end);
  while (
      mnl_attr_ok(attribute, static_cast<int>(stop - reinterpret_cast<const char*>(attribute)))) {
    visit(*attribute);
    attribute = mnl_attr_next(attribute);
  }
}

template <class Visit>
void for_each_nested(const nlattr& nest, Visit visit) {
  const auto* first = static_cast<const char*>(mnl_attr_get_payload(&nest));
  for_each_attribute(first, first + mnl_attr_get_payload_len(&nest), visit);
}

/// The attributes of a message or of a nest, by type; pointers into the message. `Count` is one
/// more than the highest type of interest, others are ignored.
template <std::size_t Count>
using NetlinkAttributes = std::array<const nlattr*, Count>;

template <std::size_t Count, class Header>
NetlinkAttributes<Count> netlink_attributes(const nlmsghdr& message) {
  NetlinkAttributes<Count> found{};
  for_each_attribute(mnl_nlmsg_get_payload_offset(&message, sizeof(Header)),
                     mnl_nlmsg_get_payload_tail(&message), [&](const nlattr& attribute) {
                       const auto type = mnl_attr_get_type(&attribute);
                       if (type < Count) found[type] = &attribute;
                     });
  return found;
}

template <std::size_t Count>
NetlinkAttributes<Count> nested_attributes(const nlattr& nest) {
  NetlinkAttributes<Count> found{};
  for_each_nested(nest, [&](const nlattr& attribute) {
    const auto type = mnl_attr_get_type(&attribute);
    if (type < Count) found[type] = &attribute;
  });
  return found;
}

}  // namespace shunt
