// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "flow/record.h"
#include "flow/tap.h"
#include "proxy/request_guard.h"
#include "sniff/http1.h"

namespace shunt {

/// Reports the requests and responses of an HTTP/1.x connection. Responses answer requests in
/// order (RFC 9112 section 9.3.2), so a queue of unanswered ones matches them, pipelined or not.
class HttpTap final : public Tap {
 public:
  /// `guard` may be null. It is asked about every request until a tunnel begins (CONNECT, 101).
  HttpTap(const Flow& flow, FlowLog& log, std::unique_ptr<RequestGuard> guard = nullptr)
      : flow_(flow), log_(log), guard_(std::move(guard)) {}

  void observe(Side side, std::string_view bytes) override;
  void skip(Side side, std::uint64_t count) override;
  [[nodiscard]] std::uint64_t uninteresting(Side side) const override;
  [[nodiscard]] bool objects() const override { return guard_ != nullptr && guard_->objects(); }
  void end(Side side) override;
  void finish() override;

 private:
  /// A request without its answer's end; of the first one the answer may be passing.
  struct Unanswered {
    HttpRequest request;  // shortened
    Clock::time_point seen;
    Answers kind = Answers::other;
    int status = 0;  // of the answer; 0: not seen
    std::string reason;
  };

  [[nodiscard]] std::uint64_t unfollowed(Side side) const;
  void observe_client(std::string_view bytes);
  void observe_upstream(std::string_view bytes);
  void take_request(const HttpHead& head);
  void take_response(const HttpHead& head);
  void end_response(BodyEnd body_end);
  void stop_requests();
  void stop(BodyEnd body_end);
  [[nodiscard]] BodyEnd stopped_body() const;
  [[nodiscard]] bool tunnel_asked() const;
  [[nodiscard]] Answers awaited() const;

  const Flow& flow_;
  FlowLog& log_;
  std::unique_ptr<RequestGuard> guard_;
  Http1Parser requests_{HttpKind::request};
  Http1Parser responses_{HttpKind::response};
  std::vector<Unanswered> unanswered_;
  std::uint32_t requests_seen_ = 0;
  bool requests_over_ = false;
  bool over_ = false;
};

}  // namespace shunt
