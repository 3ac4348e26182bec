// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
#include <vector>

#include "base/thread.h"
#include "capture/capture.h"
#include "capture/flow_source.h"
#include "capture/held_connections.h"
#include "net/event_loop.h"
#include "proxy/dns_service.h"
#include "proxy/fd_budget.h"
#include "proxy/flow_set.h"
#include "proxy/proxy.h"
#include "proxy/quic_connections.h"
#include "proxy/serve_udp.h"

namespace shunt {

/// What all workers share. Outlives them.
struct WorkerShared {
  const ProxyOptions& options;
  const CurrentPolicy& policy;
  NameEvidence names;
  QuicConnections& quic;
  const LoopGuard& loop_guard;
  FlowLog& log;
  FdBudget& budget;                    ///< of workers that have no descriptor table of their own
  std::vector<int> needed;             ///< descriptors that each worker's table keeps
  std::function<void()> idle_changed;  ///< called when a worker has nothing left to do; any thread
};

/// One thread, one event loop, one set of listeners, and the flows that arrive there. Where it was
/// asked for (ProxyOptions::own_tables), and the kernel can do that, the thread has a descriptor
/// table of its own.
class Worker {
 public:
  /// `index` tells flow ids of workers apart. Takes the listeners over.
  static Result<std::unique_ptr<Worker>> create(WorkerShared& shared, ListenerSet listeners,
                                                unsigned index);
  /// The thread must have ended, or never have begun: join().
  ~Worker() = default;

  /// What others wake it by.
  [[nodiscard]] int waker() const { return waker_number_; }
  /// Begins to serve. Returns when the thread has all that it needs, which takes some milliseconds;
  /// on failure there is no thread. Not before all wakers are in WorkerShared::needed.
  Result<void> start();
  /// Takes what is still in the backlogs, then listens no more. Any thread.
  void close_listeners();
  /// Ends the flows that `policy` decides otherwise. Any thread.
  void end_changed(std::shared_ptr<const Policy> policy);
  /// Ends every flow. Any thread.
  void cancel();
  void join();
  /// No listener open and no flow alive. Any thread.
  [[nodiscard]] bool idle() const;
  [[nodiscard]] std::size_t live_flows() const { return flows_->live(); }
  /// Its own, or the one that all share.
  [[nodiscard]] const FdBudget& budget() const { return *budget_; }

 private:
  explicit Worker(WorkerShared& shared, unsigned index)
      : shared_(shared),
        budget_(&shared.budget),
        next_flow_id_(static_cast<std::uint64_t>(index) << 40) {}
  ServeContext serve_context();
  UdpOptions udp_options();
  void run(std::latch& ready);
  void leave_descriptor_table();
  Result<void> set_up();
  void set_up_flows();
  void serve();
  void give_up_sockets();
  /// What is accepted from: captured connections, or where `plain` is set a plain listener's.
  struct Acceptor {
    WatchedFd fd;
    std::shared_ptr<const PlainListener> plain;
    Family family = Family::ipv4;
  };
  void begin_accepting(UniqueFd fd, std::shared_ptr<const PlainListener> plain);
  Task<> accept_flows(Acceptor acceptor);
  Task<> serve_udp();
  Task<> counted(Task<> task);
  /// One connection of the backlog.
  enum class Accepted { one, none, no_room };
  Accepted accept_one(const Acceptor& acceptor);
  /// `has_room`: descriptors were taken for the flow that it may become.
  void take_accepted(const Acceptor& acceptor, UniqueFd fd, const Endpoint& source, bool has_room);
  /// One connection of a captured client, ahead of the acceptor's turn; false: there is none yet.
  bool accept_captured(Family family);
  void hold(Hold hold);
  SourceWorker source_worker();
  void started_task() { tasks_.fetch_add(1); }
  void ended_task();

  WorkerShared& shared_;
  std::optional<FdBudget> own_budget_;  ///< with a table of its own
  FdBudget* budget_;
  ListenerSet listener_set_;  ///< until set_up()
  UniqueFd waker_;            ///< the same
  int waker_number_ = -1;
  Result<void> begun_;  ///< of set_up(), for start()
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<RelayResources> relay_;
  LiveFlows live_;
  std::unique_ptr<DnsService> dns_;  ///< null: queries of DNS are flows as others
  std::unique_ptr<DroppedClients> dropped_;
  std::unique_ptr<HeldConnections> held_;  ///< null: clients are let in first
  std::shared_ptr<FlowSource> source_;     ///< null: all flows arrive at sockets
  std::unique_ptr<FlowSet> flows_;
  std::vector<UniqueFd> listeners_;           ///< until run() hands them to their acceptors
  std::vector<PlainSocket> plain_listeners_;  ///< the same
  std::vector<const Acceptor*> accepting_;    ///< while they accept
  std::unique_ptr<UdpServer> udp_;            ///< null where UDP is not captured
  std::uint64_t next_flow_id_;
  std::atomic<int> tasks_ = 0;  ///< acceptors and the UDP server
  bool closing_ = false;
  Thread thread_;
};

}  // namespace shunt
