// SPDX-License-Identifier: GPL-2.0-only
#include "egress/way_out.h"

#include "net/socket.h"

namespace shunt {

ReportedUpstream::ReportedUpstream(UpstreamObserver* observer, int fd, const Endpoint& remote,
                                   const Endpoint* client) {
  if (observer == nullptr) return;
  const auto local = local_endpoint(fd);
  if (!local) {
    observer->not_opened();
    return;
  }
  observer_ = observer;
  local_ = *local;
  remote_ = remote;
  if (client != nullptr) {
    observer_->opened_for_client(local_, remote_, *client);
  } else {
    observer_->opened(local_, remote_);
  }
}

Task<std::expected<void, ConnectFailure>> WayOut::greet(EventLoop& /*loop*/) const {
  co_return std::unexpected(ConnectFailure{
      .reason = ConnectReason::unsupported, .os_error = 0, .detail = "there is no proxy to ask"});
}

}  // namespace shunt
