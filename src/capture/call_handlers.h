// SPDX-License-Identifier: GPL-2.0-only
// What comes of a captured program's calls, whoever hands them over: the kernel
// (capture/call_capture.h) or a library in the program (capture/preload_capture.h).
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "capture/courses.h"
#include "capture/parking.h"
#include "capture/stand_ins.h"
#include "capture/trapped_connects.h"
#include "capture/trapped_datagrams.h"
#include "capture/trapped_socket.h"

namespace shunt {

struct CallCaptureOptions {
  std::vector<Address> name_servers;  ///< loopback addresses whose port 53 is captured
  bool through_proxy = false;         ///< see Courses
  bool early = false;                 ///< connect() succeeds before the upstream is dialled
};

/// On the worker's thread.
class CallHandlers {
 public:
  /// The namespace of the parking places is the captured one.
  CallHandlers(CallContext& context, CallCaptureOptions options, Parking parking,
               std::shared_ptr<StandIns> stand_ins)
      : context_(captured(context, parking)),
        courses_(std::move(options.name_servers), options.through_proxy),
        connects_(context, std::move(parking), options.early),
        datagrams_(context, std::move(stand_ins), courses_) {}

  /// connect(2) of an internet socket; `asked` is empty where its address had AF_UNSPEC.
  CallAnswer connect(const TrappedCall& call, TrappedSocket socket,
                     const std::optional<Endpoint>& asked);
  /// What getpeername(2) is to show of an internet socket; nothing: what the kernel says.
  std::optional<Endpoint> shown_peer(const TrappedSocket& socket);
  /// With CallContext::closing set: what waits for sockets alone ends.
  void close() { connects_.close(); }

  [[nodiscard]] Courses& courses() { return courses_; }
  [[nodiscard]] TrappedConnects& connects() { return connects_; }
  [[nodiscard]] TrappedDatagrams& datagrams() { return datagrams_; }

 private:
  static CallContext& captured(CallContext& context, const Parking& parking);

  CallContext& context_;
  Courses courses_;
  TrappedConnects connects_;
  TrappedDatagrams datagrams_;
};

}  // namespace shunt
