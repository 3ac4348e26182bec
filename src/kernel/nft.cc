// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/nft.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <nftables/libnftables.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/error_numbers.h"
#include "kernel/capabilities.h"
#include "kernel/directory.h"
#include "kernel/netlink.h"

namespace shunt {
namespace {

/// The process's descriptors that are netfilter netlink sockets.
std::vector<int> netfilter_sockets() {
  std::vector<int> sockets;
  Directory descriptors("/proc/self/fd");
  while (const char* entry = descriptors.next()) {
    const std::string_view name = entry;
    int fd = -1;
    if (std::from_chars(name.begin(), name.end(), fd).ec != std::errc()) continue;
    int domain = 0;
    int protocol = 0;
    socklen_t size = sizeof domain;
    if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_NETLINK) {
      continue;
    }
    if (::getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) != 0) continue;
    if (protocol == NETLINK_NETFILTER) sockets.push_back(fd);
  }
  return sockets;
}

Result<UniqueFd> memory_file(std::string_view text) {
  UniqueFd fd(::memfd_create("shunt.nft", MFD_CLOEXEC));
  if (!fd.valid()) return Failure(errno_error("memfd_create"));
  while (!text.empty()) {
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written < 0) return Failure(errno_error("write the ruleset to a memory file"));
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return fd;
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

int os_error_in(std::string_view words) {
  for (const int candidate : {EPERM, EEXIST, EOPNOTSUPP, ENOENT, EBUSY, ENOMEM, EINVAL}) {
    if (words.contains(strerrordesc_np(candidate))) return candidate;
  }
  return 0;
}

/// nft says "/proc/self/fd/4:5:22-25: Error: WORDS\n  OFFENDING LINE\n   ^^^^\n", once or more. The
/// first one counts.
Error explain(std::string_view output) {
  constexpr std::string_view kMarker = "Error: ";
  const auto at = output.find(kMarker);
  std::string_view rest =
      at == std::string_view::npos ? output : output.substr(at + kMarker.size());
  const auto end = rest.find('\n');
  const std::string_view words = trimmed(rest.substr(0, end));
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  const std::string_view line = trimmed(rest.substr(0, rest.find('\n')));
  Error error = make_error(Kind::runtime,
                           fmt::format("nft: {}{}{}", words.empty() ? "failed silently" : words,
                                       line.empty() ? "" : ", in: ", line));
  error.number = error_number::kNoNftables;
  switch (os_error_in(words)) {
    case EPERM: error.kind = Kind::privilege; break;
    case EEXIST: error.kind = Kind::conflict; break;
    case EOPNOTSUPP:
    case ENOENT: error.kind = Kind::unsupported; break;  // also: the expression's module is missing
    default: break;
  }
  return error;
}

}  // namespace

void NftContext::Free::operator()(nft_ctx* context) const { ::nft_ctx_free(context); }

Result<NftContext> NftContext::create() {
  // Without the capability libnftables prints to stderr by itself.
  SHUNT_CHECK(require_capability(CAP_NET_ADMIN, "using nftables"));
  const auto before = netfilter_sockets();
  NftContext context(::nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context.context_) return Failure(errno_error("make an nftables context"));
  for (const int fd : netfilter_sockets()) {
    if (std::ranges::find(before, fd) == before.end()) context.socket_ = HeldFd::borrow(fd);
  }
  // It is not close-on-exec by itself (1.0.6); if it was not found, a child could keep the table.
  if (!context.socket_.valid()) {
    return Failure(make_error(Kind::runtime, "cannot find the netlink socket of libnftables",
                              "shunt needs /proc to be mounted"));
  }
  ::nft_ctx_buffer_output(context.context_.get());
  ::nft_ctx_buffer_error(context.context_.get());
  return context;
}

NftContext& NftContext::operator=(NftContext&& other) noexcept {
  if (this != &other) {
    leak_in_child();
    socket_.reset();
    context_ = std::move(other.context_);
    socket_ = std::move(other.socket_);
  }
  return *this;
}

NftContext::~NftContext() {
  leak_in_child();
  socket_.reset();
}

// In a forked child the socket is closed already and its number may be somebody else's by now,
// which nft_ctx_free() would close.
void NftContext::leak_in_child() {
  if (context_ && !socket_.valid()) static_cast<void>(context_.release());
}

Result<std::string> NftContext::run(std::string_view commands) {
  if (!socket_.valid()) return Failure(errno_error("nft in a forked child", EBADF));
  // From a file, not a buffer: for a buffer nft quotes its first line, wherever the error is.
  const UniqueFd file = SHUNT_TRY(memory_file(commands));
  const auto path = fmt::format("/proc/self/fd/{}", file.get());
  const int result = ::nft_run_cmd_from_filename(context_.get(), path.c_str());
  // Reading a buffer also rewinds it for the next command.
  std::string output = ::nft_ctx_get_output_buffer(context_.get());
  const std::string error = ::nft_ctx_get_error_buffer(context_.get());
  if (result != 0) return Failure(explain(error));
  return output;
}

Result<void> NftContext::check(std::string_view commands) {
  ::nft_ctx_set_dry_run(context_.get(), true);
  auto result = run(commands);
  ::nft_ctx_set_dry_run(context_.get(), false);
  if (!result) return Failure(std::move(result).error());
  return {};
}

std::string nft_table_text(std::string_view name, std::string_view body, TableLifetime lifetime) {
  const std::string_view end = body.empty() || body.ends_with('\n') ? "" : "\n";
  const std::string_view flags = lifetime == TableLifetime::owned ? "  flags owner\n" : "";
  return fmt::format("table inet {} {{\n{}{}{}}}\n", name, flags, body, end);
}

Result<NftTable> NftTable::create(std::string name, std::string_view body, TableLifetime lifetime) {
  auto context = SHUNT_TRY(NftContext::create());
  // `create table … { chains }` would drop the chains (nft 1.0.6), so the table is created empty,
  // which fails if it exists, and filled in the same transaction.
  const auto text = fmt::format("create {}{}", nft_table_text(name, "", lifetime),
                                nft_table_text(name, body, lifetime));
  auto loaded = context.run(text);
  if (!loaded) {
    return Failure(with_context(std::move(loaded).error(), fmt::format("table inet {}", name)));
  }
  return NftTable(std::move(context), std::move(name), lifetime);
}

NftTable& NftTable::operator=(NftTable&& other) noexcept {
  if (this != &other) {
    static_cast<void>(remove());
    context_ = std::move(other.context_);
    name_ = std::exchange(other.name_, {});
    lifetime_ = other.lifetime_;
  }
  return *this;
}

NftTable::NftTable(NftTable&& other) noexcept
    : context_(std::move(other.context_)),
      name_(std::exchange(other.name_, {})),
      lifetime_(other.lifetime_) {}

Result<void> NftTable::replace(std::string_view body) {
  auto replaced = context_.run(
      fmt::format("delete table inet {}\n{}", name_, nft_table_text(name_, body, lifetime_)));
  if (replaced) return {};
  return Failure(with_context(std::move(replaced).error(), fmt::format("table inet {}", name_)));
}

NftTable::~NftTable() { static_cast<void>(remove()); }

Result<void> NftTable::remove() {
  if (name_.empty()) return {};
  auto removed = context_.run(fmt::format("delete table inet {}\n", std::exchange(name_, {})));
  if (!removed) return Failure(std::move(removed).error());
  return {};
}

Result<void> nft_run(std::string_view commands) {
  auto context = SHUNT_TRY(NftContext::create());
  static_cast<void>(SHUNT_TRY(context.run(commands)));
  return {};
}

Result<void> nft_check(std::string_view commands) {
  auto context = SHUNT_TRY(NftContext::create());
  return context.check(commands);
}

std::string_view NftTableInfo::family_name() const {
  switch (family) {
    case NFPROTO_INET: return "inet";
    case NFPROTO_IPV4: return "ip";
    case NFPROTO_IPV6: return "ip6";
    case NFPROTO_ARP: return "arp";
    case NFPROTO_BRIDGE: return "bridge";
    case NFPROTO_NETDEV: return "netdev";
    default: return "unknown";
  }
}

Result<std::vector<NftTableInfo>> list_nft_tables() {
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_NETFILTER));
  NetlinkMessage message((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETTABLE, NLM_F_DUMP);
  message.put_header<nfgenmsg>().nfgen_family = NFPROTO_UNSPEC;
  std::vector<NftTableInfo> tables;
  SHUNT_CHECK(socket.dump(message, "list nftables tables", [&](const nlmsghdr& answer) {
    const auto found = netlink_attributes<NFTA_TABLE_MAX + 1, nfgenmsg>(answer);
    if (found[NFTA_TABLE_NAME] == nullptr) return;
    const auto& family = *static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(&answer));
    // Network byte order, as everything in nf_tables.
    const auto* flags = found[NFTA_TABLE_FLAGS];
    const bool owner =
        flags != nullptr && (ntohl(mnl_attr_get_u32(flags)) & NFT_TABLE_F_OWNER) != 0;
    tables.push_back({.family = family.nfgen_family,
                      .name = mnl_attr_get_str(found[NFTA_TABLE_NAME]),
                      .has_owner = owner});
  }));
  return tables;
}

Result<void> delete_nft_table(std::string_view name) {
  const auto tables = SHUNT_TRY(list_nft_tables());
  const bool exists = std::ranges::any_of(tables, [&](const NftTableInfo& table) {
    return table.family == NFPROTO_INET && table.name == name;
  });
  if (!exists) return {};
  return nft_run(fmt::format("delete table inet {}\n", name));
}

}  // namespace shunt
