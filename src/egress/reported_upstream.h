// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <utility>

#include "net/endpoint.h"

namespace shunt {

/// Is told of every socket that a way out opens towards the network (proxy/loop_guard.h). Any
/// thread.
class UpstreamObserver {
 public:
  virtual ~UpstreamObserver() = default;
  /// Right before connect() is called; opened() or not_opened() follows on the same thread.
  virtual void opening() = 0;
  /// Right after connect() returned, before the answer is awaited: the SYN may already be on its
  /// way back to one of our own listeners.
  virtual void opened(const Endpoint& local, const Endpoint& remote) = 0;
  /// The same of a socket whose local address is a client's (keep-source), not this machine's.
  /// `client` is the flow's source.
  virtual void opened_for_client(const Endpoint& local, const Endpoint& remote,
                                 const Endpoint& client) {
    (void)client;
    opened(local, remote);
  }
  virtual void not_opened() = 0;
  virtual void closed(const Endpoint& local, const Endpoint& remote) = 0;
};

/// Reports opened() once and closed() when it goes; belongs beside the socket it speaks of.
class ReportedUpstream {
 public:
  ReportedUpstream() = default;
  /// `observer` may be null, and so may `client`: whose address the socket bears, if it does.
  /// `remote` is what connect() was given; asks the socket for its local endpoint.
  ReportedUpstream(UpstreamObserver* observer, int fd, const Endpoint& remote,
                   const Endpoint* client = nullptr);
  ReportedUpstream(ReportedUpstream&& other) noexcept
      : observer_(std::exchange(other.observer_, nullptr)),
        local_(other.local_),
        remote_(other.remote_) {}
  ReportedUpstream& operator=(ReportedUpstream&& other) noexcept {
    std::swap(observer_, other.observer_);
    std::swap(local_, other.local_);
    std::swap(remote_, other.remote_);
    return *this;
  }
  ~ReportedUpstream() {
    if (observer_ != nullptr) observer_->closed(local_, remote_);
  }

 private:
  UpstreamObserver* observer_ = nullptr;
  Endpoint local_;
  Endpoint remote_;
};

}  // namespace shunt
