// SPDX-License-Identifier: GPL-2.0-only
// A file of names or networks: read, or refused with the place of what is wrong. What was read is
// in the form that flows are compared by.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "policy/list_file.h"
#include "rule/values.h"

namespace {

using namespace shunt;

void check(bool holds) {
  if (!holds) std::abort();
}

void check_error(const Error& error) {
  check(error.place.starts_with("list:") && error.place.contains('^'));
  for (const char byte : error.place) {
    check(static_cast<unsigned char>(byte) >= 0x20 || byte == '\n');
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto names = parse_name_list(text, "list");
  if (names) {
    for (const ListedName& listed : *names) check(host_name(listed.name) == listed.name);
  } else {
    check_error(names.error());
  }
  const auto networks = parse_network_list(text, "list");
  if (networks) {
    for (const Network& network : *networks) check(network.contains(network.address));
  } else {
    check_error(networks.error());
  }
  return 0;
}
