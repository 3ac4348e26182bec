// SPDX-License-Identifier: GPL-2.0-only
// Bytes as the file of fake addresses. What is understood can be put into a pool, which then says
// the same, and written again.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "dns/fake_file.h"
#include "dns/fake_pool.h"
#include "dns/message.h"

namespace {

using namespace shunt;

void check(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto ranges = ranges_of_fake_file(bytes);
  if (!ranges) return 0;
  FakePool pool(ranges->v4, ranges->v6, 64);
  const auto assignments = parse_fake_file(bytes, pool.ranges());
  if (!assignments) return 0;
  std::string again = "shunt fake-ip 1 " + pool.ranges() + "\n";
  std::set<FakePool::Place> places;
  std::set<std::string> names;
  for (const auto& [place, name] : *assignments) {
    check(place != 0 && dns::name_to_wire(name).has_value());
    check(places.insert(place).second && names.insert(name).second);
    again += std::to_string(place) + " " + name + "\n";
  }
  check(parse_fake_file(again, pool.ranges()) == assignments);
  const auto now = std::chrono::steady_clock::now();
  pool.restore(*assignments, now);
  check(pool.size() <= assignments->size());
  for (const auto& assignment : pool.assignments()) {
    check(std::ranges::find(*assignments, assignment) != assignments->end());
    const auto address = pool.give(assignment.second, Family::ipv4, now);
    check(address && pool.contains(*address) && pool.name_of(*address, now) == assignment.second);
  }
  return 0;
}
