// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/queue_rule.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "kernel/netlink.h"

namespace shunt {
namespace {

constexpr std::uint16_t kNewRule = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_NEWRULE;
constexpr std::uint32_t kRevision = 3;  // the one with flags
constexpr int kAnswerTimeoutMs = 5000;
constexpr std::uint32_t kOthers = 0x5175;  // sequence numbers, told back by answers
constexpr std::uint32_t kLast = 0x5176;

/// nft_compat wants the parameters aligned as xtables does (XT_ALIGN).
struct alignas(8) TargetInfo {
  xt_NFQ_info_v3 info;
};

void put_nfgen(NetlinkMessage& message, std::uint8_t family, std::uint16_t resource) {
  auto& header = message.put_header<nfgenmsg>();
  header.nfgen_family = family;
  header.version = NFNETLINK_V0;
  header.res_id = htons(resource);
}

void put_target(NetlinkMessage& message, const QueueRule& rule) {
  TargetInfo info{};
  info.info = {.queuenum = rule.first, .queues_total = rule.count, .flags = NFQ_FLAG_BYPASS};
  nlattr* expressions = message.open_nest(NFTA_RULE_EXPRESSIONS);
  nlattr* element = message.open_nest(NFTA_LIST_ELEM);
  message.put_string(NFTA_EXPR_NAME, "target");
  nlattr* data = message.open_nest(NFTA_EXPR_DATA);
  message.put_string(NFTA_TARGET_NAME, "NFQUEUE");
  message.put_u32(NFTA_TARGET_REV, htonl(kRevision));
  message.put(NFTA_TARGET_INFO, {reinterpret_cast<const char*>(&info), sizeof info});
  message.close_nest(data);
  message.close_nest(element);
  message.close_nest(expressions);
}

void append(std::string& out, const NetlinkMessage& message, std::uint32_t sequence) {
  message.header()->nlmsg_seq = sequence;
  const auto* bytes = reinterpret_cast<const char*>(message.header());
  out.append(bytes, message.header()->nlmsg_len);
  out.resize((out.size() + 3) & ~std::size_t{3});
}

/// nf_tables takes changes in batches only. Each failure is answered, and the last rule always.
std::string batch(std::string_view table, std::span<const ChainQueueRule> rules) {
  std::string out;
  NetlinkMessage begin(NFNL_MSG_BATCH_BEGIN, 0);
  put_nfgen(begin, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  append(out, begin, kOthers);
  for (const auto& [chain, rule] : rules) {
    const bool last = &rule == &rules.back().rule;
    NetlinkMessage add(kNewRule, NLM_F_CREATE | NLM_F_APPEND | (last ? NLM_F_ACK : 0));
    put_nfgen(add, NFPROTO_INET, 0);
    add.put_string(NFTA_RULE_TABLE, table);
    add.put_string(NFTA_RULE_CHAIN, chain);
    put_target(add, rule);
    append(out, add, last ? kLast : kOthers);
  }
  NetlinkMessage end(NFNL_MSG_BATCH_END, 0);
  put_nfgen(end, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  append(out, end, kOthers);
  return out;
}

/// The first errno that is not 0, of all answers up to that of the last rule.
Result<int> answer_of(int fd) {
  alignas(nlmsghdr) std::array<char, 4096> buffer{};
  int first_error = 0;
  pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
  while (true) {
    const int ready = ::poll(&wait, 1, kAnswerTimeoutMs);
    if (ready == 0) return Failure(errno_error("queueing packets", ETIMEDOUT));
    const ssize_t got = ready < 0 ? -1 : ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && errno != EINTR && errno != EAGAIN) return Failure(errno_error("netlink"));
    if (got < static_cast<ssize_t>(NLMSG_HDRLEN + sizeof(nlmsgerr))) continue;
    nlmsghdr header{};
    nlmsgerr error{};
    std::memcpy(&header, buffer.data(), sizeof header);
    std::memcpy(&error, buffer.data() + NLMSG_HDRLEN, sizeof error);
    if (header.nlmsg_type != NLMSG_ERROR) continue;
    if (first_error == 0) first_error = -error.error;
    if (header.nlmsg_seq == kLast) return first_error;
  }
}

}  // namespace

std::string queue_statement(const QueueRule& rule) {
  if (rule.count == 1) return fmt::format("queue num {} bypass", rule.first);
  return fmt::format("queue num {}-{} bypass", rule.first, rule.first + rule.count - 1);
}

Result<void> append_queue_targets(NftContext& owner, std::string_view table,
                                  std::span<const ChainQueueRule> rules) {
  if (rules.empty()) return {};
  const std::string message = batch(table, rules);
  if (::send(owner.fd(), message.data(), message.size(), 0) < 0) {
    return Failure(errno_error("queueing packets"));
  }
  const int error = SHUNT_TRY(answer_of(owner.fd()));
  if (error == 0) return {};
  Error failure = errno_error(fmt::format("the target NFQUEUE in {}", table), error);
  if (error == ENOENT || error == EOPNOTSUPP) failure.kind = Kind::unsupported;
  return Failure(std::move(failure));
}

}  // namespace shunt
