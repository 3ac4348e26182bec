// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>
#include <utility>

#include "flow/record.h"
#include "flow/tap.h"
#include "proxy/request_guard.h"
#include "sniff/tls.h"

namespace shunt {

/// Reports the server name and ALPN of a TLS connection, once: when the server's hello is there, or
/// when it is clear that none will be understood.
class TlsTap final : public Tap {
 public:
  /// `guard` may be null. It is asked about the client's hello.
  TlsTap(const Flow& flow, FlowLog& log, std::unique_ptr<RequestGuard> guard = nullptr)
      : flow_(flow), log_(log), guard_(std::move(guard)) {}

  void observe(Side side, std::string_view bytes) override;
  void skip(Side side, std::uint64_t count) override;
  [[nodiscard]] std::uint64_t uninteresting(Side side) const override;
  [[nodiscard]] bool objects() const override { return guard_ != nullptr && guard_->objects(); }
  void end(Side side) override;
  void finish() override;

 private:
  void observe_client(std::string_view bytes);
  void observe_upstream(std::string_view bytes);
  void report();
  [[nodiscard]] std::uint64_t unfollowed(Side side) const;

  const Flow& flow_;
  FlowLog& log_;
  std::unique_ptr<RequestGuard> guard_;
  std::unique_ptr<TlsHelloReader> reader_ =
      std::make_unique<TlsHelloReader>(TlsMessage::client_hello);  // null: nothing more to see
  std::unique_ptr<TlsHello> hello_;                                // the client's, once complete
};

}  // namespace shunt
