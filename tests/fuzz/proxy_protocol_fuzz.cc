// SPDX-License-Identifier: GPL-2.0-only
// What may stand where a PROXY header is expected. A header that was found is the same when more
// follows and at every split, never longer than the limit, and survives being written again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "flow/proxy_protocol.h"

namespace {

using namespace shunt;
using namespace shunt::proxy_protocol;

void check(bool holds) {
  if (!holds) std::abort();
}

bool same_ends(const Header& a, const Header& b) {
  return a.local == b.local && a.source == b.source && a.destination == b.destination;
}

void write_again(const Header& header) {
  if (header.local || header.protocol == Protocol::tcp) {
    const std::string line = encode_v1(header);
    const auto again = decode(line);
    check(line.size() <= kLongestV1 && again.complete() && same_ends(again.value, header));
  }
  const std::string bytes = encode_v2(header);
  const auto again = decode(bytes);
  check(again.complete() && again.size == bytes.size() && same_ends(again.value, header));
  if (header.local) return;
  check(again.value.has_checksum && again.value.protocol == header.protocol);
  check(again.value.unique_id == header.unique_id);
  check(header.authority.size() > kLongestText || again.value.authority == header.authority);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto whole = decode(bytes);
  if (whole.malformed()) {
    check(!whole.why.empty());
    return 0;
  }
  if (!whole.complete()) {
    check(size < kLongestHeader);
    return 0;
  }
  check(whole.size <= size && whole.size <= kLongestHeader);
  const auto alone = decode(bytes.substr(0, whole.size));
  check(alone.complete() && alone.size == whole.size && same_ends(alone.value, whole.value));
  for (std::size_t split = 0; split < whole.size; ++split) {
    check(!decode(bytes.substr(0, split)).complete() &&
          !decode(bytes.substr(0, split)).malformed());
  }
  write_again(whole.value);
  return 0;
}
