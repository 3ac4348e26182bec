// SPDX-License-Identifier: GPL-2.0-only
// What the handlers of trapped calls have in common: the answer to a call, and the socket that it
// is about.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>

#include "capture/captured_network.h"
#include "capture/flow_source.h"
#include "capture/repeated_calls.h"
#include "capture/trapped_processes.h"
#include "flow/flow.h"
#include "kernel/call_trap.h"
#include "kernel/foreign_process.h"
#include "kernel/waiting_calls.h"
#include "net/endpoint.h"
#include "net/shared_fd.h"
#include "net/unique_fd.h"

namespace shunt {

/// What becomes of a trapped call.
struct CallAnswer {
  enum class Kind : std::uint8_t {
    result,
    let_run,  ///< the kernel does it; only where nothing is decided by it
    later,    ///< whoever keeps its id answers
  };
  Kind kind = Kind::result;
  std::int64_t value = 0;  ///< of the call, or minus an errno

  static CallAnswer result(std::int64_t value) { return {.kind = Kind::result, .value = value}; }
  static CallAnswer error(int os_error) { return result(-os_error); }
  static CallAnswer let_run() { return {.kind = Kind::let_run}; }
  static CallAnswer later() { return {.kind = Kind::later}; }
};

/// Whether somebody waited for it still; true where somebody else answers.
bool give_answer(const WaitingCalls& calls, std::uint64_t id, const CallAnswer& answer);

/// A copy of a program's descriptor: the same socket, whatever becomes of the number.
struct TrappedSocket {
  SharedFd fd;
  int domain = 0;  ///< AF_…; 0: no socket
  int type = 0;
  int protocol = 0;

  /// `number` is the descriptor in the program; yields the errno that the program is to get.
  static std::expected<TrappedSocket, int> open(ForeignProcesses& processes, pid_t thread,
                                                std::uint64_t number);

  static TrappedSocket of(UniqueFd fd);

  [[nodiscard]] bool is_internet() const;
  [[nodiscard]] bool is_tcp() const;
  [[nodiscard]] bool is_udp() const;
  [[nodiscard]] Family family() const;  ///< of an internet socket
  [[nodiscard]] bool is_blocking() const;
  /// Of the socket, for as long as it exists; never given again (SO_COOKIE).
  [[nodiscard]] std::uint64_t cookie() const;
  /// SO_SNDTIMEO or SO_RCVTIMEO in milliseconds; nothing: none is set.
  [[nodiscard]] std::optional<std::uint32_t> timeout_ms(int option) const;
};

/// A socket address of a program's, of `size` bytes: empty optional where its family is AF_UNSPEC;
/// or the errno for the program, as connect(2) on `socket` would say it.
std::expected<std::optional<Endpoint>, int> parse_address(const TrappedSocket& socket,
                                                          const sockaddr_storage& address,
                                                          std::uint32_t size);
/// The same from the memory of `thread`.
std::expected<std::optional<Endpoint>, int> read_address(const TrappedSocket& socket, pid_t thread,
                                                         std::uint64_t address, std::uint64_t size);

/// Writes an endpoint as getpeername(2) does, in the family of `socket`: as many bytes as fit, and
/// how many there are. `address` and `size_at` lie in the memory of `thread`. Yields 0, or the
/// errno, when some of it may have been written.
int write_address(const TrappedSocket& socket, pid_t thread, const Endpoint& endpoint,
                  std::uint64_t address, std::uint64_t size_at);

/// What the handlers work with. Outlives them.
struct CallContext {
  CaptureMethod method = CaptureMethod::seccomp;  ///< of the flows
  const WaitingCalls& calls;
  TrappedProcesses& owners;
  ForeignProcesses processes = {};
  SourceWorker worker = {};
  CapturedNetwork network = {};
  bool closing = false;  ///< tasks end soon
  RepeatedCalls repeated = RepeatedCalls(calls);
  std::size_t work = 0;  ///< calls, and messages in them, since others had their turn
};

/// What a call yields, or its errno.
using CallOutcome = std::expected<std::int64_t, int>;
/// Answers a call on the socket `cookie`. Where its thread was called away before it heard what was
/// done, the same call yields that when it comes once more; `digest`: RepeatedCalls::Done.
void tell(CallContext& context, const TrappedCall& call, std::uint64_t cookie,
          const CallOutcome& outcome, std::uint64_t digest = 0);

}  // namespace shunt
