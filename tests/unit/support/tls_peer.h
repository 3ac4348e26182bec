// SPDX-License-Identifier: GPL-2.0-only
// A TLS server for one connection, on a thread of its own, with a certificate that it makes itself.
#pragma once

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "unit/support/tcp_pair.h"

namespace shunt::test {

/// A key, and a certificate for `name` (a host name, or an IPv4 address) that vouches for itself.
class SelfSigned {
 public:
  explicit SelfSigned(const std::string& name) {
    gnutls_x509_privkey_init(&key_);
    gnutls_x509_privkey_generate(key_, GNUTLS_PK_ECDSA,
                                 GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    gnutls_x509_crt_init(&certificate_);
    gnutls_x509_crt_set_version(certificate_, 3);
    gnutls_x509_crt_set_serial(certificate_, "\x01", 1);
    gnutls_x509_crt_set_activation_time(certificate_, std::time(nullptr) - 3600);
    gnutls_x509_crt_set_expiration_time(certificate_, std::time(nullptr) + 3600);
    gnutls_x509_crt_set_basic_constraints(certificate_, 1, -1);
    gnutls_x509_crt_set_dn_by_oid(certificate_, GNUTLS_OID_X520_COMMON_NAME, 0, name.data(),
                                  static_cast<unsigned>(name.size()));
    if (const auto address = Address::parse(name)) {
      const auto bytes = address->bytes();
      gnutls_x509_crt_set_subject_alt_name(certificate_, GNUTLS_SAN_IPADDRESS, bytes.data(),
                                           static_cast<unsigned>(bytes.size()), GNUTLS_FSAN_SET);
    } else {
      gnutls_x509_crt_set_subject_alt_name(certificate_, GNUTLS_SAN_DNSNAME, name.data(),
                                           static_cast<unsigned>(name.size()), GNUTLS_FSAN_SET);
    }
    gnutls_x509_crt_set_key(certificate_, key_);
    EXPECT_GE(gnutls_x509_crt_sign2(certificate_, certificate_, key_, GNUTLS_DIG_SHA256, 0), 0);
    write_pem();
  }
  SelfSigned(const SelfSigned&) = delete;
  SelfSigned& operator=(const SelfSigned&) = delete;
  ~SelfSigned() {
    gnutls_x509_crt_deinit(certificate_);
    gnutls_x509_privkey_deinit(key_);
    std::filesystem::remove(path_);
  }

  /// Where it stands in PEM, for whoever is to trust it.
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] gnutls_x509_privkey_t key() const { return key_; }
  [[nodiscard]] gnutls_x509_crt_t certificate() const { return certificate_; }

 private:
  void write_pem() {
    static int number = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("shunt-test-ca-" + std::to_string(::getpid()) + "-" + std::to_string(++number));
    gnutls_datum_t pem{};
    EXPECT_GE(gnutls_x509_crt_export2(certificate_, GNUTLS_X509_FMT_PEM, &pem), 0);
    std::ofstream(path_) << std::string_view(reinterpret_cast<const char*>(pem.data), pem.size);
    gnutls_free(pem.data);
  }

  gnutls_x509_privkey_t key_ = nullptr;
  gnutls_x509_crt_t certificate_ = nullptr;
  std::string path_;
};

class TlsPeer {
 public:
  using Talk = std::function<void(TlsPeer&)>;

  /// Accepts one connection; `talk` runs after a handshake that succeeded, and the connection
  /// closes when it returns.
  TlsPeer(const SelfSigned& identity, Talk talk) : talk_(std::move(talk)) {
    gnutls_certificate_allocate_credentials(&credentials_);
    gnutls_x509_crt_t chain[] = {identity.certificate()};
    EXPECT_GE(gnutls_certificate_set_x509_key(credentials_, chain, 1, identity.key()), 0);
    address_ = *local_endpoint(listener_.get());
    thread_ = std::jthread([this] { serve(); });
  }
  ~TlsPeer() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    gnutls_certificate_free_credentials(credentials_);
  }

  [[nodiscard]] const Endpoint& address() const { return address_; }

  // For `talk`.
  void say(std::string_view bytes) {
    EXPECT_EQ(gnutls_record_send(session_, bytes.data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
  }
  std::string hear(std::size_t size) {
    std::string bytes(size, '\0');
    std::size_t got = 0;
    while (got < size) {
      const auto count = gnutls_record_recv(session_, bytes.data() + got, size - got);
      if (count <= 0) break;
      got += static_cast<std::size_t>(count);
    }
    bytes.resize(got);
    return bytes;
  }
  /// Whether the other side has said its end.
  bool hears_the_end() {
    char byte = 0;
    return gnutls_record_recv(session_, &byte, 1) == 0;
  }
  void say_end() { gnutls_bye(session_, GNUTLS_SHUT_WR); }

 private:
  void serve() {
    if (!wait_for(listener_.get(), POLLIN)) return;
    const UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client.valid()) return;
    timeval patience{.tv_sec = kDeadlineMs / 1000, .tv_usec = 0};
    ::setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    gnutls_init(&session_, GNUTLS_SERVER | GNUTLS_NO_SIGNAL);
    gnutls_set_default_priority(session_);
    gnutls_credentials_set(session_, GNUTLS_CRD_CERTIFICATE, credentials_);
    gnutls_transport_set_int(session_, client.get());
    int result = 0;
    do {
      result = gnutls_handshake(session_);
    } while (result < 0 && gnutls_error_is_fatal(result) == 0);
    if (result == 0) talk_(*this);
    gnutls_deinit(session_);
  }

  Talk talk_;
  gnutls_certificate_credentials_t credentials_ = nullptr;
  gnutls_session_t session_ = nullptr;
  UniqueFd listener_ = listen_on_loopback();
  Endpoint address_;
  std::jthread thread_;
};

}  // namespace shunt::test
