// SPDX-License-Identifier: GPL-2.0-only
// Which process in a capture namespace a flow belongs to: sock_diag tells the socket's inode, and
// /proc/PID/fd of the namespace's processes tells who holds it.
//
// What a scan finds is kept, so of a burst of new connections only the first pays. It goes over the
// command's descendants, and only when that does not help over all processes of the machine, to
// find those of the namespace that lost their parents. Either is held to a share of the log
// thread's time. A flow that comes in between goes without a name, and so does one that was refused
// so fast that its socket is gone, unless there was never any process but the command. A decision
// cannot go without: for it every flow whose socket is not known yet is worth a scan.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "flow/process_finder.h"
#include "flow/process_names.h"
#include "kernel/sock_diag.h"

namespace shunt {

class NamespaceProcesses final : public ProcessNames, public ProcessFinder {
 public:
  /// `diag_socket` and `netns` as CaptureNamespace has them; `netns` stays the caller's. `holder`
  /// is not looked at; 0: there is none.
  NamespaceProcesses(UniqueFd diag_socket, int netns, pid_t holder);

  /// Any thread.
  void set_command(pid_t command) { command_ = command; }
  std::optional<ProcessInfo> lookup(const Flow& flow) override;
  ProcessFact find(const Flow& flow, Wanted wanted) override;
  [[nodiscard]] std::vector<int> descriptors() const override { return {diag_.fd(), netns_}; }

 private:
  enum class Patience : std::uint8_t { little, much };
  /// Spends at most a share of the time on `work`.
  class Throttle {
   public:
    template <class Work>
    void run(Patience patience, const Work& work);

   private:
    std::chrono::steady_clock::time_point next_;
  };

  std::optional<pid_t> process_of(const Flow& flow, Patience patience);
  std::optional<pid_t> holder_of(std::uint32_t inode, Patience patience);
  [[nodiscard]] std::optional<pid_t> only_process() const;
  void scan_descendants();
  void scan_namespace();
  void collect_sockets();

  std::mutex mutex_;  ///< of everything below but the command: workers ask, and the log's thread
  SockDiag diag_;
  int netns_;
  pid_t holder_;
  std::atomic<pid_t> command_ = 0;
  std::vector<pid_t> members_;
  std::unordered_map<std::uint32_t, pid_t> sockets_;  ///< holders by inode
  Throttle descendants_;
  Throttle namespace_;
};

}  // namespace shunt
