// SPDX-License-Identifier: GPL-2.0-only
#include "egress/way_out_cycles.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error_numbers.h"
#include "base/result.h"
#include "egress/check_way_outs.h"

namespace shunt {
namespace {

// NOLINTBEGIN(misc-no-recursion)
class Walk {
 public:
  explicit Walk(std::span<const WayOutSpec> specs) : specs_(specs) {}

  /// Each cycle is found once, from wherever it is first come upon.
  Result<void> from_the_top(const WayOutSpec& spec) {
    const auto walked = from(spec);
    for (const WayOutSpec* each : path_) done_.emplace(each, 1);  // the mistake is told
    path_.clear();
    if (!walked) return Failure(walked.error());
    return {};
  }

 private:
  /// Yields how many ways out lead through each other from there on, itself counted.
  Result<std::size_t> from(const WayOutSpec& spec) {
    const auto known = done_.find(&spec);
    const std::size_t depth = known != done_.end() ? known->second : 1;
    if (path_.size() + depth > kDeepestWayOut) {
      return way_out_error(
          spec, "", fmt::format("more than {} ways out lead through each other", kDeepestWayOut));
    }
    if (known != done_.end()) return depth;
    path_.push_back(&spec);
    const std::size_t hops = SHUNT_TRY(into(spec, "via", spec.via));
    const std::size_t members = SHUNT_TRY(into(spec, "members", spec.members));
    path_.pop_back();
    const std::size_t below = std::max(hops, members);
    done_.emplace(&spec, below + 1);
    return below + 1;
  }

  Result<std::size_t> into(const WayOutSpec& spec, std::string_view key,
                           const std::vector<std::string>& names) {
    std::size_t deepest = 0;
    for (const std::string& name : names) {
      const WayOutSpec* next = find_spec(specs_, name);
      if (next == nullptr) continue;  // "direct", or a mistake that is told elsewhere
      if (std::ranges::find(path_, next) != path_.end()) return cycle(spec, key, *next);
      const std::size_t depth = SHUNT_TRY(from(*next));
      deepest = std::max(deepest, depth);
    }
    return deepest;
  }

  [[nodiscard]] Failure cycle(const WayOutSpec& spec, std::string_view key,
                              const WayOutSpec& again) const {
    std::string loop;
    for (auto at = std::ranges::find(path_, &again); at != path_.end(); ++at) {
      loop += fmt::format("\"{}\" -> ", (*at)->name);
    }
    Failure failure =
        way_out_error(spec, key, fmt::format("leads through itself: {}\"{}\"", loop, again.name));
    failure.error().number = error_number::kWayOutCycle;
    return failure;
  }

  std::span<const WayOutSpec> specs_;
  std::vector<const WayOutSpec*> path_;
  std::map<const WayOutSpec*, std::size_t> done_;
};
// NOLINTEND(misc-no-recursion)

}  // namespace

std::vector<Error> way_out_cycles(std::span<const WayOutSpec> specs) {
  std::vector<Error> mistakes;
  Walk walk(specs);
  for (const WayOutSpec& spec : specs) {
    if (auto walked = walk.from_the_top(spec); !walked) {
      mistakes.push_back(std::move(walked).error());
    }
  }
  return mistakes;
}

}  // namespace shunt
