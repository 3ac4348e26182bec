// SPDX-License-Identifier: GPL-2.0-only
// What a hostile HTTP proxy may answer to CONNECT. A head that was found is found again when less
// follows it, and one without an end is given up at the limit.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "egress/wire/http_connect.h"

namespace {

using namespace shunt;

void check(bool holds) {
  if (!holds) std::abort();
}

bool lies_in(std::string_view part, std::string_view whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto whole = http_connect::decode_response(bytes);
  if (whole.complete()) {
    check(whole.size <= size && whole.size <= limits::kHttpHeadBytes);
    check(whole.value.status == 101 || (whole.value.status >= 200 && whole.value.status <= 999));
    const auto head = bytes.substr(0, whole.size);
    for (const auto part :
         {whole.value.status_line, whole.value.proxy_status, whole.value.squid_error}) {
      check(lies_in(part, head) && !part.contains('\n'));
    }
    const auto alone = http_connect::decode_response(head);
    check(alone.complete() && alone.size == whole.size);
    const auto shorter = http_connect::decode_response(head.substr(0, head.size() - 1));
    check(!shorter.complete() && !shorter.malformed());
  } else if (!whole.malformed()) {
    check(size < limits::kHttpHeadBytes);
  }
  const auto half = bytes.substr(0, size / 2);
  const auto basic = http_connect::basic_authorization(half, bytes.substr(half.size()));
  check(basic.size() == 6 + (size + 1 + 2) / 3 * 4);
  check(http_connect::request({}, basic).ends_with("\r\n\r\n"));
  return 0;
}
