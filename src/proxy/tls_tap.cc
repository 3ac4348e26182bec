// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/tls_tap.h"

#include <algorithm>
#include <utility>

namespace shunt {

void TlsTap::observe(Side side, std::string_view bytes) {
  if (side == Side::client && guard_ != nullptr) guard_->see(bytes);
  if (!reader_) return;
  if (side == Side::client) {
    if (!hello_) observe_client(bytes);
  } else if (hello_) {
    observe_upstream(bytes);
  } else {
    reader_.reset();  // an answer, most likely an alert, to a hello that is not complete
  }
}

void TlsTap::skip(Side side, std::uint64_t count) {
  if (count != 0 && unfollowed(side) == 0) finish();
}

std::uint64_t TlsTap::uninteresting(Side side) const {
  const std::uint64_t unguarded =
      side == Side::client && guard_ != nullptr ? guard_->uninteresting() : kEverything;
  return std::min(unfollowed(side), unguarded);
}

/// What need not be seen for the log's sake.
std::uint64_t TlsTap::unfollowed(Side side) const {
  if (!reader_) return kEverything;
  return side == Side::client && hello_ ? kEverything : 0;
}

void TlsTap::end(Side side) {
  if (side == Side::upstream || !hello_) finish();
}

void TlsTap::finish() {
  if (hello_) report();
  reader_.reset();
}

void TlsTap::observe_client(std::string_view bytes) {
  const auto state = reader_->feed(bytes);
  if (state == TlsHelloReader::State::need_more) return;
  std::optional<ClientHello> parsed;
  if (state == TlsHelloReader::State::complete) parsed = parse_client_hello(reader_->body());
  if (!parsed) {
    reader_.reset();
    return;
  }
  hello_ = std::make_unique<TlsHello>();
  hello_->server_name = std::move(parsed->server_name);
  hello_->alpn_offered = std::move(parsed->alpn);
  hello_->ech = parsed->ech;
  reader_ = std::make_unique<TlsHelloReader>(TlsMessage::server_hello);
}

void TlsTap::observe_upstream(std::string_view bytes) {
  const auto state = reader_->feed(bytes);
  if (state == TlsHelloReader::State::need_more) return;
  if (state == TlsHelloReader::State::complete) {
    if (auto parsed = parse_server_hello(reader_->body())) {
      hello_->version = parsed->version;
      hello_->alpn_chosen = std::move(parsed->alpn);
    }
  }
  finish();
}

void TlsTap::report() {
  const bool refused = guard_ != nullptr && guard_->objects();
  log_.tls_hello(refused ? guard_->refused() : flow_, *hello_);
  hello_.reset();
}

}  // namespace shunt
