// SPDX-License-Identifier: GPL-2.0-only
// The capture of `shunt run`: a network namespace in which every address is local, so that nothing
// can leave it but through the listeners, and whose sockets are handed out to a proxy that dials in
// the host's namespace. An ordinary user can make one.
//
// A small process, the holder, makes the namespace and stays in it, because some sockets can only
// be made inside and a process with threads cannot go there (setns(2): a user namespace is entered
// by single-threaded processes). It ends when this object goes, or when this process dies in
// whatever way. The namespace lives as long as a process is in it or a socket of it is open.
//
//   host's namespaces                   user namespace H, network namespace N
//   proxy: accepts, dials  <-- fds ---  holder: mapped root, makes N, listeners, reply sockets
//   command's process      -- enter -->  user namespace of its own below H: own uid, no capability
//
// Run by root, H is the host's own user namespace, and the command loses CAP_NET_ADMIN and
// CAP_SYS_ADMIN instead: enough that it can neither change N nor leave it, and chown, setgroups and
// the like keep working.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "capture/capture.h"
#include "capture/hold.h"
#include "capture/host_network.h"
#include "capture/listeners.h"
#include "net/unique_fd.h"

namespace shunt {

struct CaptureNamespaceOptions {
  HostNetwork host;
  std::vector<Address> name_servers;  ///< loopback addresses whose port 53 is the host's
  bool localhost_is_host = false;     ///< see capture/namespace_rules.h
  unsigned workers = 1;
  bool shares_udp = true;  ///< see shares_udp() in capture/ruleset_text.h
  bool hold = true;  ///< connections until their server has answered, where the kernel can do that
};

/// The rules that a namespace with these options gets, as nft reads them.
[[nodiscard]] std::string capture_namespace_rules(const CaptureNamespaceOptions& options,
                                                  const std::optional<HoldSpec>& hold = {});

/// What it takes to go in.
struct NamespaceDoor {
  UniqueFd network;
  UniqueFd user;  ///< not valid when the namespace belongs to the host's user namespace
};

/// Moves the calling process, which must be single-threaded, into the namespace and takes from it
/// what could undo the capture. It has its own uid and gid afterwards. The descriptors are those of
/// a NamespaceDoor; `user` -1: there is none.
Result<void> enter_capture_namespace(int network, int user);

class CaptureNamespace {
 public:
  /// Forks the holder: no thread may have been started. The Error says why the host refuses.
  static Result<CaptureNamespace> create(const CaptureNamespaceOptions& options);

  /// The host's network has changed: lets the namespace look like it again. A change of the same
  /// kind as what create() was given; connections that exist are not disturbed.
  Result<void> change_network(const HostNetwork& host);

  /// For the proxy to move out.
  Listeners& listeners() { return listeners_; }
  [[nodiscard]] const NamespaceDoor& door() const { return door_; }
  [[nodiscard]] std::shared_ptr<ReplySockets> reply_sockets() const;
  /// A NETLINK_SOCK_DIAG socket in the namespace; to be moved out.
  UniqueFd& diag_socket() { return diag_socket_; }
  [[nodiscard]] pid_t holder() const { return holder_; }
  /// Why connections are not held although that was asked for; "": they are.
  [[nodiscard]] const std::string& why_not_held() const { return why_not_held_; }

 private:
  CaptureNamespace() = default;

  Listeners listeners_;
  NamespaceDoor door_;
  UniqueFd diag_socket_;
  class Holder;
  std::shared_ptr<Holder> channel_;  // shared with whoever uses the reply sockets
  pid_t holder_ = -1;
  std::string why_not_held_;
};

}  // namespace shunt
