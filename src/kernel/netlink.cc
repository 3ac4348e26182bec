// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/netlink.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <vector>

namespace shunt {
namespace {

// The kernel fills at most 32 KiB of a dump's buffer at a time (netlink_dump(), since 4.6).
constexpr std::size_t kReceiveBytes = 64 * 1024;

// The kernel answers within microseconds, or after a grace period of RCU.
constexpr int kAnswerTimeoutMs = 10'000;

int payload_size(const nlmsghdr& message) {
  return static_cast<int>(message.nlmsg_len - NLMSG_HDRLEN);
}

/// The kernel's text in an NLMSG_ERROR (NETLINK_EXT_ACK): behind the error and the echoed header,
/// which NETLINK_CAP_ACK keeps short.
std::string extended_ack(const nlmsghdr& message) {
  if ((message.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
  const auto& error = *static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(&message));
  std::size_t skip = sizeof(nlmsgerr);
  if ((message.nlmsg_flags & NLM_F_CAPPED) == 0) skip += error.msg.nlmsg_len - NLMSG_HDRLEN;
  std::string words;
  for_each_attribute(mnl_nlmsg_get_payload_offset(&message, skip),
                     mnl_nlmsg_get_payload_tail(&message), [&](const nlattr& attribute) {
                       if (mnl_attr_get_type(&attribute) != NLMSGERR_ATTR_MSG) return;
                       words = mnl_attr_get_str(&attribute);
                     });
  return words;
}

/// What an NLMSG_ERROR or NLMSG_DONE says; success is no error.
Result<void> verdict_of(const nlmsghdr& message, std::string_view what) {
  if (payload_size(message) < static_cast<int>(sizeof(int))) return {};
  const int code = *static_cast<const int*>(mnl_nlmsg_get_payload(&message));
  if (code == 0) return {};
  Error error = errno_error(what, -code);
  if (message.nlmsg_type == NLMSG_ERROR) {
    if (const auto words = extended_ack(message); !words.empty()) {
      error.message += fmt::format(" ({})", words);
    }
  }
  return Failure(std::move(error));
}

}  // namespace

NetlinkMessage::NetlinkMessage(std::uint16_t type, std::uint16_t flags)
    : header_(mnl_nlmsg_put_header(buffer_.data())) {
  header_->nlmsg_type = type;
  header_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
}

void NetlinkMessage::put(std::uint16_t type, std::string_view bytes) {
  if (!mnl_attr_put_check(header_, buffer_.size(), type, bytes.size(), bytes.data())) {
    overflown_ = true;
  }
}

void NetlinkMessage::put_string(std::uint16_t type, std::string_view text) {
  put(type, std::string_view(std::string(text).c_str(), text.size() + 1));
}

void NetlinkMessage::put_u8(std::uint16_t type, std::uint8_t value) {
  put(type, {reinterpret_cast<const char*>(&value), sizeof value});
}

void NetlinkMessage::put_u32(std::uint16_t type, std::uint32_t value) {
  put(type, {reinterpret_cast<const char*>(&value), sizeof value});
}

nlattr* NetlinkMessage::open_nest(std::uint16_t type) {
  nlattr* nest = mnl_attr_nest_start_check(header_, buffer_.size(), type);
  if (nest == nullptr) overflown_ = true;
  return nest;
}

void NetlinkMessage::close_nest(nlattr* nest) {
  if (nest != nullptr) mnl_attr_nest_end(header_, nest);
}

Result<NetlinkSocket> NetlinkSocket::open(int protocol) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
  if (!fd.valid()) return Failure(errno_error("open a netlink socket"));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Failure(errno_error("bind a netlink socket"));
  }
  // Better error texts and shorter acknowledgements; an old kernel without them is fine too.
  const int on = 1;
  ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  return NetlinkSocket(std::move(fd));
}

Result<void> NetlinkSocket::join(unsigned group) {
  if (::setsockopt(fd_.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
    return Failure(errno_error(fmt::format("join netlink group {}", group)));
  }
  return {};
}

void NetlinkSocket::filter_dumps_in_kernel() {
  const int on = 1;
  ::setsockopt(fd_.get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
}

Result<void> NetlinkSocket::send(NetlinkMessage& message, std::string_view what) {
  if (message.overflown()) return Failure(errno_error(what, EMSGSIZE));
  message.header()->nlmsg_seq = ++sequence_;
  const auto* header = message.header();
  if (::send(fd_.get(), header, header->nlmsg_len, 0) < 0) return Failure(errno_error(what));
  return {};
}

Result<std::size_t> NetlinkSocket::read_answer(char* buffer, std::size_t size,
                                               std::string_view what) {
  // The kernel answers from within send(), and a dump's next part from within recv(); a poll is
  // only for what the kernel does asynchronously.
  pollfd wait{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  while (true) {
    const ssize_t got = ::recv(fd_.get(), buffer, size, 0);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return Failure(errno_error(what));
    if (::poll(&wait, 1, kAnswerTimeoutMs) == 0) return Failure(errno_error(what, ETIMEDOUT));
  }
}

Result<void> NetlinkSocket::exchange(NetlinkMessage& message, std::string_view what,
                                     const Visitor& visit) {
  SHUNT_CHECK(send(message, what));
  std::vector<char> buffer(kReceiveBytes);
  while (true) {
    auto left = static_cast<int>(SHUNT_TRY(read_answer(buffer.data(), buffer.size(), what)));
    const auto* answer = reinterpret_cast<const nlmsghdr*>(buffer.data());
    for (; mnl_nlmsg_ok(answer, left); answer = mnl_nlmsg_next(answer, &left)) {
      if (answer->nlmsg_seq != sequence_) continue;  // of an earlier request that timed out
      if (answer->nlmsg_type == NLMSG_ERROR || answer->nlmsg_type == NLMSG_DONE) {
        return verdict_of(*answer, what);
      }
      if (answer->nlmsg_type >= NLMSG_MIN_TYPE) visit(*answer);
    }
  }
}

Result<void> NetlinkSocket::request(NetlinkMessage& message, std::string_view what) {
  return request(message, what, [](const nlmsghdr&) {});
}

Result<void> NetlinkSocket::request(NetlinkMessage& message, std::string_view what,
                                    const Visitor& visit) {
  message.header()->nlmsg_flags |= NLM_F_ACK;
  return exchange(message, what, visit);
}

Result<void> NetlinkSocket::dump(NetlinkMessage& message, std::string_view what,
                                 const Visitor& visit) {
  message.header()->nlmsg_flags |= NLM_F_DUMP;
  return exchange(message, what, visit);
}

Result<bool> NetlinkSocket::receive(const Visitor& visit) {
  std::vector<char> buffer(kReceiveBytes);
  bool complete = true;
  while (true) {
    const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0) {
      if (errno == EAGAIN) return complete;
      if (errno == EINTR) continue;
      if (errno != ENOBUFS) return Failure(errno_error("read netlink events"));
      complete = false;
      continue;
    }
    auto left = static_cast<int>(got);
    const auto* event = reinterpret_cast<const nlmsghdr*>(buffer.data());
    for (; mnl_nlmsg_ok(event, left); event = mnl_nlmsg_next(event, &left)) {
      if (event->nlmsg_type >= NLMSG_MIN_TYPE) visit(*event);
    }
  }
}

}  // namespace shunt
