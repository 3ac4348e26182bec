// SPDX-License-Identifier: GPL-2.0-only
// Bytes as a client's or a server's first TLS records, and as a bare hello: any cutting into
// segments must give the same answer.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/limits.h"
#include "sniff/identify.h"
#include "sniff/tls.h"

namespace shunt {
namespace {

struct Answer {
  TlsHelloReader::State state = TlsHelloReader::State::need_more;
  std::string body;
  bool operator==(const Answer&) const = default;
};

Answer read(TlsMessage message, std::string_view bytes, std::size_t size) {
  TlsHelloReader reader(message);
  Answer answer;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(size, bytes.size()))) {
    answer.state = reader.feed(bytes.substr(0, size));
  }
  if (answer.state == TlsHelloReader::State::complete) answer.body = reader.body();
  return answer;
}

void parse(std::string_view body) {
  if (const auto hello = parse_client_hello(body)) {
    if (hello->alpn.size() > limits::kTlsAlpnNames) std::abort();
    if (hello->server_name.size() > body.size()) std::abort();
  }
  (void)parse_server_hello(body);
}

}  // namespace
}  // namespace shunt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace shunt;  // NOLINT(google-build-using-namespace)
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  parse(bytes);
  for (const auto message : {TlsMessage::client_hello, TlsMessage::server_hello}) {
    const Answer whole = read(message, bytes, std::max<std::size_t>(size, 1));
    if (read(message, bytes, 1) != whole || read(message, bytes, 3) != whole) std::abort();
    parse(whole.body);
  }
  const NamePeek peeked = peek_name(bytes);
  if (peeked.state == NamePeek::State::match && peeked.name.empty()) std::abort();
  return 0;
}
