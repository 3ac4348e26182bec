// SPDX-License-Identifier: GPL-2.0-only
// nftables as text, through libnftables. A table of shunt's carries `flags owner`: it belongs to
// the netlink socket of its NftTable and the kernel removes it when that socket closes, whoever
// killed the process (Linux 5.12; nft(8)); a foreign `nft flush ruleset` leaves it alone.
//
// libnftables is NOT thread-safe and not even reentrant across contexts (its parser and caches are
// global): every function here must be called from one thread at a time. Each acts in the network
// namespace that the calling thread is in when the context or table is made.
//
// Cost (6.18, nft 1.0.6): a context 0.2 ms, a table of ten rules 1 to 2 ms.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernel/held_fd.h"

struct nft_ctx;

namespace shunt {

/// A libnftables context with its close-on-exec netlink socket.
class NftContext {
 public:
  static Result<NftContext> create();
  NftContext(NftContext&&) noexcept = default;
  NftContext& operator=(NftContext&& other) noexcept;
  ~NftContext();

  /// Runs the commands as one transaction: all or nothing. Yields what nft would print. The Error
  /// holds nft's own words and the line that they are about.
  Result<std::string> run(std::string_view commands);
  /// The same, asking the kernel but committing nothing (`nft -c`).
  Result<void> check(std::string_view commands);
  /// The netlink socket: what it sends counts as the owner's. -1 in a forked child.
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  struct Free {
    void operator()(nft_ctx* context) const;
  };
  explicit NftContext(nft_ctx* context) : context_(context) {}
  void leak_in_child();

  std::unique_ptr<nft_ctx, Free> context_;
  HeldFd socket_;  // the one inside context_, borrowed
};

/// What becomes of a table when shunt dies without an orderly stop.
enum class TableLifetime : std::uint8_t {
  owned,       ///< gone with the process
  persistent,  ///< stays (on-exit = closed); Instance::sweep() and `shunt down` remove it
};

/// The very text that NftTable::create() loads, for `shunt plan`. `body` is what stands between the
/// table's braces: sets and chains, one statement a line (nft 1.0.6 refuses `}` on the line of the
/// last statement).
std::string nft_table_text(std::string_view name, std::string_view body, TableLifetime lifetime);

/// One table of the inet family. The destructor deletes it, persistent or not.
class NftTable {
 public:
  /// Kind::conflict if a table of that name exists.
  static Result<NftTable> create(std::string name, std::string_view body,
                                 TableLifetime lifetime = TableLifetime::owned);
  NftTable(NftTable&& other) noexcept;
  NftTable& operator=(NftTable&& other) noexcept;
  ~NftTable();

  [[nodiscard]] const std::string& name() const { return name_; }
  /// Further commands by the owner, one transaction (`add element inet NAME …`).
  Result<std::string> run(std::string_view commands) { return context_.run(commands); }
  /// For what nft has no words for (kernel/queue_rule.h).
  [[nodiscard]] NftContext& context() { return context_; }
  /// Puts another body in the place of the one it has, in one transaction: no packet meets neither
  /// or both, and on failure everything is as it was. Counters begin anew.
  Result<void> replace(std::string_view body);
  /// Deletes it now and says whether that worked.
  Result<void> remove();

 private:
  NftTable(NftContext context, std::string name, TableLifetime lifetime)
      : context_(std::move(context)), name_(std::move(name)), lifetime_(lifetime) {}
  NftContext context_;
  std::string name_;  // empty: nothing to delete
  TableLifetime lifetime_;
};

/// One-shot: for a namespace that dies with its processes, where nothing needs an owner.
Result<void> nft_run(std::string_view commands);
/// Would the kernel take this? Commits nothing; needs CAP_NET_ADMIN.
Result<void> nft_check(std::string_view commands);

struct NftTableInfo {
  std::uint8_t family = 0;  ///< NFPROTO_*
  std::string name{};
  bool has_owner = false;                              ///< belongs to a live netlink socket
  [[nodiscard]] std::string_view family_name() const;  ///< "inet", "ip", …
};

/// All tables of the namespace, by netlink; needs CAP_NET_ADMIN.
Result<std::vector<NftTableInfo>> list_nft_tables();
/// Deletes a table of the inet family; one that does not exist is not an error. EPERM: it belongs
/// to another live socket.
Result<void> delete_nft_table(std::string_view name);

}  // namespace shunt
