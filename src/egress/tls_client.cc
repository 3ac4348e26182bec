// SPDX-License-Identifier: GPL-2.0-only
#include "egress/tls_client.h"

#include <fmt/format.h>
#include <gnutls/gnutls.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error_numbers.h"
#include "net/socket.h"

namespace shunt {
namespace {

using std::unexpected;

template <class T>
using Expected = std::expected<T, ConnectFailure>;

constexpr std::string_view kAlpn = "http/1.1";  // CONNECT is asked for in no other version

struct FreeCredentials {
  void operator()(gnutls_certificate_credentials_t credentials) const {
    gnutls_certificate_free_credentials(credentials);
  }
};
using Credentials = std::unique_ptr<gnutls_certificate_credentials_st, FreeCredentials>;

bool is_address(const std::string& host) {
  return Address::parse(host.substr(0, host.find('%'))).has_value();
}

class TlsLayer : public StreamLayer {
 public:
  TlsLayer(int fd, std::unique_ptr<StreamLayer> below) : fd_(fd), below_(std::move(below)) {}
  TlsLayer(const TlsLayer&) = delete;
  TlsLayer& operator=(const TlsLayer&) = delete;
  ~TlsLayer() override {
    if (session_ != nullptr) gnutls_deinit(session_);
  }

  int start(gnutls_certificate_credentials_t credentials, const std::string& server_name);
  /// As gnutls_handshake(), but GNUTLS_E_AGAIN only when the socket has to become ready.
  int handshake();
  [[nodiscard]] bool waits_for_writing() const {
    return gnutls_record_get_direction(session_) == 1;
  }
  [[nodiscard]] std::string why(int error) const;

  ssize_t send(const char* bytes, std::size_t size) override;
  ssize_t receive(char* bytes, std::size_t size) override;
  int finish_sending() override;

 private:
  static ssize_t push(gnutls_transport_ptr_t self, const void* bytes, std::size_t size);
  static ssize_t pull(gnutls_transport_ptr_t self, void* bytes, std::size_t size);
  ssize_t passed(ssize_t result);

  int fd_;
  std::unique_ptr<StreamLayer> below_;
  gnutls_session_t session_ = nullptr;
  bool blocked_ = false;  // the last call below said EAGAIN
  bool bye_sent_ = false;
};

ssize_t TlsLayer::passed(ssize_t result) {
  if (result >= 0) return result;
  if (errno == EAGAIN) blocked_ = true;
  gnutls_transport_set_errno(session_, errno);
  return result;
}

ssize_t TlsLayer::push(gnutls_transport_ptr_t self, const void* bytes, std::size_t size) {
  auto& layer = *static_cast<TlsLayer*>(self);
  return layer.passed(layer.below_ != nullptr
                          ? layer.below_->send(static_cast<const char*>(bytes), size)
                          : ::send(layer.fd_, bytes, size, MSG_NOSIGNAL));
}

ssize_t TlsLayer::pull(gnutls_transport_ptr_t self, void* bytes, std::size_t size) {
  auto& layer = *static_cast<TlsLayer*>(self);
  return layer.passed(layer.below_ != nullptr
                          ? layer.below_->receive(static_cast<char*>(bytes), size)
                          : ::recv(layer.fd_, bytes, size, 0));
}

int TlsLayer::start(gnutls_certificate_credentials_t credentials, const std::string& server_name) {
  const unsigned flags = GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL;
  if (const int made = gnutls_init(&session_, flags); made < 0) return made;
  gnutls_transport_set_ptr(session_, this);
  gnutls_transport_set_push_function(session_, &TlsLayer::push);
  gnutls_transport_set_pull_function(session_, &TlsLayer::pull);
  gnutls_handshake_set_timeout(session_, 0);  // the caller has a deadline
  if (const int set = gnutls_set_default_priority(session_); set < 0) return set;
  if (const int set = gnutls_credentials_set(session_, GNUTLS_CRD_CERTIFICATE, credentials);
      set < 0) {
    return set;
  }
  gnutls_datum_t protocol{};
  std::string alpn(kAlpn);
  protocol.data = reinterpret_cast<unsigned char*>(alpn.data());
  protocol.size = static_cast<unsigned>(alpn.size());
  if (const int set = gnutls_alpn_set_protocols(session_, &protocol, 1, 0); set < 0) return set;
  gnutls_session_set_verify_cert(session_, server_name.c_str(), 0);
  if (is_address(server_name)) return 0;  // RFC 6066 section 3: no addresses
  return gnutls_server_name_set(session_, GNUTLS_NAME_DNS, server_name.data(), server_name.size());
}

int TlsLayer::handshake() {
  for (;;) {
    blocked_ = false;
    const int result = gnutls_handshake(session_);
    if (result == 0 || gnutls_error_is_fatal(result) != 0) return result;
    if (result == GNUTLS_E_AGAIN && blocked_) return result;
  }
}

std::string TlsLayer::why(int error) const {
  if (error != GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR) return gnutls_strerror(error);
  gnutls_datum_t text{};
  const auto status = gnutls_session_get_verify_cert_status(session_);
  if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) < 0) {
    return gnutls_strerror(error);
  }
  std::string said(reinterpret_cast<const char*>(text.data), text.size);
  gnutls_free(text.data);
  while (said.ends_with(' ') || said.ends_with('.')) said.pop_back();
  return said;
}

ssize_t TlsLayer::send(const char* bytes, std::size_t size) {
  for (;;) {
    blocked_ = false;
    const ssize_t sent = gnutls_record_send(session_, bytes, size);
    if (sent >= 0) return sent;
    if (sent == GNUTLS_E_INTERRUPTED || (sent == GNUTLS_E_AGAIN && !blocked_)) continue;
    errno = sent == GNUTLS_E_AGAIN ? EAGAIN : ECONNRESET;
    return -1;
  }
}

// GNUTLS_E_AGAIN also follows a message that was no data (a session ticket): then there may be
// more.
ssize_t TlsLayer::receive(char* bytes, std::size_t size) {
  for (;;) {
    blocked_ = false;
    const ssize_t count = gnutls_record_recv(session_, bytes, size);
    if (count >= 0) return count;
    if (count == GNUTLS_E_AGAIN && blocked_) {
      errno = EAGAIN;
      return -1;
    }
    if (gnutls_error_is_fatal(static_cast<int>(count)) == 0) continue;
    errno = ECONNRESET;
    return -1;
  }
}

int TlsLayer::finish_sending() {
  while (!bye_sent_) {
    blocked_ = false;
    const int result = gnutls_bye(session_, GNUTLS_SHUT_WR);
    if (result == 0) bye_sent_ = true;
    if (result == 0 || (result == GNUTLS_E_AGAIN && !blocked_) || result == GNUTLS_E_INTERRUPTED) {
      continue;
    }
    errno = result == GNUTLS_E_AGAIN ? EAGAIN : ECONNRESET;
    return -1;
  }
  return below_ != nullptr ? below_->finish_sending() : ::shutdown(fd_, SHUT_WR);
}

class GnutlsClient : public TlsClient {
 public:
  GnutlsClient(Credentials credentials, std::string server_name)
      : credentials_(std::move(credentials)), server_name_(std::move(server_name)) {}

  Task<Expected<void>> handshake(EventLoop& loop, Upstream& upstream,
                                 Deadline deadline) const override {
    auto layer = std::make_unique<TlsLayer>(upstream.socket.fd(), std::move(upstream.layer));
    int result = layer->start(credentials_.get(), server_name_);
    if (result == 0) result = layer->handshake();
    Slot& slot = upstream.socket.slot();
    while (result == GNUTLS_E_AGAIN) {
      const auto left = deadline.left_ms();
      if (left == 0) co_return unexpected(failure_from_wake(Wake::timeout));
      const bool writing = layer->waits_for_writing();
      slot.clear(writing ? Slot::kWritable : Slot::kReadable);
      Wake wake = Wake::ready;
      if (writing) {
        wake = co_await loop.writable(slot, left);
      } else {
        wake = co_await loop.readable(slot, left);
      }
      if (wake != Wake::ready) co_return unexpected(failure_from_wake(wake));
      result = layer->handshake();
    }
    if (result < 0) co_return unexpected(failed(*layer, result));
    upstream.layer = std::move(layer);
    co_return Expected<void>();
  }

 private:
  ConnectFailure failed(const TlsLayer& layer, int error) const {
    return {.reason = ConnectReason::proxy_error,
            .os_error = 0,
            .detail = fmt::format("TLS with {}: {}", server_name_, layer.why(error))};
  }

  Credentials credentials_;
  std::string server_name_;
};

Failure nobody_to_trust(const std::string& ca_file, std::string_view why) {
  while (why.ends_with('.')) why.remove_suffix(1);
  const bool system = ca_file.empty();
  return Failure(make_error(
      Kind::configuration, error_number::kBadWayOut,
      fmt::format("no certificate to trust in {}{}{}",
                  system ? "the system's trust store" : ca_file, why.empty() ? "" : ": ", why),
      system ? "apt install ca-certificates"
             : "a file of certificates in PEM (-----BEGIN CERTIFICATE-----)"));
}

}  // namespace

Result<std::shared_ptr<const TlsClient>> TlsClient::create(const TlsSettings& settings) {
  if (!settings.ca_file.empty() && ::access(settings.ca_file.c_str(), R_OK) != 0) {
    return nobody_to_trust(settings.ca_file, strerrordesc_np(errno));
  }
  gnutls_certificate_credentials_t raw = nullptr;
  if (gnutls_certificate_allocate_credentials(&raw) < 0) {
    return Failure(errno_error("TLS credentials", ENOMEM));
  }
  Credentials credentials(raw);
  const bool system = settings.ca_file.empty();
  const int count = system ? gnutls_certificate_set_x509_system_trust(raw)
                           : gnutls_certificate_set_x509_trust_file(raw, settings.ca_file.c_str(),
                                                                    GNUTLS_X509_FMT_PEM);
  if (count <= 0) {
    return nobody_to_trust(settings.ca_file, count < 0 ? gnutls_strerror(count) : "");
  }
  return std::make_shared<GnutlsClient>(std::move(credentials), settings.server_name);
}

}  // namespace shunt
