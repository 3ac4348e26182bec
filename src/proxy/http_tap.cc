// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/http_tap.h"

#include <algorithm>
#include <utility>

#include "base/counters.h"
#include "base/limits.h"

namespace shunt {
namespace {

Answers kind_of(std::string_view method) {
  if (method == "HEAD") return Answers::head;
  return method == "CONNECT" ? Answers::connect : Answers::other;
}

void shorten(std::string& text) {
  if (text.size() <= limits::kHttpLabelBytes) return;
  text.resize(limits::kHttpLabelBytes);
  text.shrink_to_fit();
}

bool is_interim(int status) { return status / 100 == 1 && status != 101; }

}  // namespace

void HttpTap::observe(Side side, std::string_view bytes) {
  if (side == Side::client) {
    if (guard_ != nullptr) guard_->see(bytes);
    observe_client(bytes);
  } else {
    observe_upstream(bytes);
  }
}

void HttpTap::skip(Side side, std::uint64_t count) {
  if (side == Side::client && guard_ != nullptr) guard_->skip(count);
  if (unfollowed(side) == kEverything) return;
  (side == Side::client ? requests_ : responses_).skip(count);
  // The end of a body may have been reached.
  side == Side::client ? observe_client({}) : observe_upstream({});
}

std::uint64_t HttpTap::uninteresting(Side side) const {
  const std::uint64_t unguarded =
      side == Side::client && guard_ != nullptr ? guard_->uninteresting() : kEverything;
  return std::min(unfollowed(side), unguarded);
}

/// What need not be seen for the log's sake.
std::uint64_t HttpTap::unfollowed(Side side) const {
  if (over_) return kEverything;
  if (side == Side::client) return requests_over_ ? kEverything : requests_.uninteresting();
  return responses_.uninteresting();
}

void HttpTap::end(Side side) {
  if (side == Side::client) {
    stop_requests();
  } else if (!over_) {
    responses_.end();
    observe_upstream({});
    stop(BodyEnd::cut);
  }
}

void HttpTap::finish() { stop(BodyEnd::cut); }

void HttpTap::observe_client(std::string_view bytes) {
  while (!requests_over_ && !over_) {
    if (!bytes.empty() && tunnel_asked()) {
      stop_requests();
      return;
    }
    const auto step = requests_.feed(bytes);
    bytes.remove_prefix(step.consumed);
    if (step.event == HttpEvent::none) return;
    if (step.event == HttpEvent::stopped) stop_requests();
    if (step.event == HttpEvent::head) take_request(step.head);
  }
}

void HttpTap::observe_upstream(std::string_view bytes) {
  while (!over_) {
    const auto step = responses_.feed(bytes, awaited());
    bytes.remove_prefix(step.consumed);
    if (step.event == HttpEvent::none) return;
    if (step.event == HttpEvent::stopped) {
      const BodyEnd body = stopped_body();
      if (body == BodyEnd::complete) guard_.reset();  // what follows is the tunnel's
      stop(body);
    }
    if (step.event == HttpEvent::head) take_response(step.head);
    if (step.event == HttpEvent::message_end) end_response(BodyEnd::complete);
  }
}

void HttpTap::take_request(const HttpHead& head) {
  if (unanswered_.size() >= limits::kHttpPipelinedRequests) {
    count(Counter::http_pipelines_too_deep);
    stop_requests();
    return;
  }
  HttpRequest request = {.number = ++requests_seen_,
                         .method = std::string(head.method),
                         .target = std::string(head.target),
                         .host = std::string(head.host)};
  const bool refused = guard_ != nullptr && guard_->refuses(request.number);
  log_.http_request(refused ? guard_->refused() : flow_, request);
  shorten(request.target);
  shorten(request.host);
  unanswered_.push_back({.request = std::move(request),
                         .seen = Clock::now(),
                         .kind = kind_of(head.method),
                         .status = 0,
                         .reason = {}});
}

/// An answer without a request, as servers give to a client that is too slow (408), is the last
/// thing on its connection; what the client may still send is not matched against answers.
void HttpTap::take_response(const HttpHead& head) {
  if (is_interim(head.status)) return;
  if (unanswered_.empty()) {
    unanswered_.push_back(
        {.request = {}, .seen = flow_.started, .kind = Answers::other, .status = 0, .reason = {}});
    requests_over_ = true;
  }
  unanswered_.front().status = head.status;
  unanswered_.front().reason = head.reason;
  shorten(unanswered_.front().reason);
}

void HttpTap::end_response(BodyEnd body_end) {
  if (unanswered_.empty() || unanswered_.front().status == 0) return;  // none, or an interim one
  Unanswered& answered = unanswered_.front();
  log_.http_response(flow_, {.request = std::move(answered.request),
                             .status = answered.status,
                             .reason = std::move(answered.reason),
                             .body_bytes = responses_.body_bytes(),
                             .body_end = body_end,
                             .elapsed_ms = ms_since(answered.seen)});
  unanswered_.erase(unanswered_.begin());
  if (!unanswered_.empty()) return;
  std::vector<Unanswered>().swap(unanswered_);  // a quiet connection keeps nothing
  if (requests_over_) over_ = true;
}

/// Responses are followed as long as one is awaited.
void HttpTap::stop_requests() {
  requests_over_ = true;
  if (unanswered_.empty()) over_ = true;
}

void HttpTap::stop(BodyEnd body_end) {
  if (over_) return;
  end_response(body_end);
  over_ = true;
}

/// Why the parser of responses stopped: a tunnel begins, whose answer has no body, or it cannot
/// tell where the body ends.
BodyEnd HttpTap::stopped_body() const {
  if (unanswered_.empty()) return BodyEnd::unseen;
  const Unanswered& answered = unanswered_.front();
  const bool tunnel =
      answered.status == 101 || (answered.kind == Answers::connect && answered.status / 100 == 2);
  return tunnel ? BodyEnd::complete : BodyEnd::unseen;
}

/// What follows a CONNECT belongs to the tunnel, even when it comes before the answer.
bool HttpTap::tunnel_asked() const {
  return !unanswered_.empty() && unanswered_.back().kind == Answers::connect;
}

Answers HttpTap::awaited() const {
  return unanswered_.empty() ? Answers::other : unanswered_.front().kind;
}

}  // namespace shunt
