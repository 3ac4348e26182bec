// SPDX-License-Identifier: GPL-2.0-only
// TLS towards a proxy, by GnuTLS. The session is a StreamLayer: it never waits by itself and has no
// thread, so it lives in the worker's loop like any socket, and may stand on top of another one.
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "base/result.h"
#include "egress/dial.h"
#include "egress/way_out.h"

namespace shunt {

struct TlsSettings {
  std::string server_name;  ///< that the certificate has to be for; also sent (SNI) where it is a
                            ///< name and not an address
  std::string ca_file{};    ///< PEM, instead of the system's trust store; "": the system's
};

class TlsClient {
 public:
  /// Reads the certificates that are trusted. Kind::configuration where there are none.
  static Result<std::shared_ptr<const TlsClient>> create(const TlsSettings& settings);
  virtual ~TlsClient() = default;

  /// Puts a TLS session on top of what `upstream` is, whose peer has not sent anything yet. The
  /// certificate is checked, always: a way out that is somebody else's is none.
  /// Fails with proxy_error, timed_out, reset or cancelled; then `upstream` is of no more use.
  virtual Task<std::expected<void, ConnectFailure>> handshake(EventLoop& loop, Upstream& upstream,
                                                              Deadline deadline) const = 0;
};

}  // namespace shunt
