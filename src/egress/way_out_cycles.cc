// SPDX-License-Identifier: GPL-2.0-only
#include "egress/way_out_cycles.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

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
    auto walked = from(spec);
    if (!walked) done_.insert(done_.end(), path_.begin(), path_.end());
    path_.clear();
    return walked;
  }

 private:
  Result<void> from(const WayOutSpec& spec) {
    if (std::ranges::find(done_, &spec) != done_.end()) return {};
    if (path_.size() == kDeepestWayOut) {
      return way_out_error(
          spec, "", fmt::format("more than {} ways out lead through each other", kDeepestWayOut));
    }
    path_.push_back(&spec);
    SHUNT_CHECK(into(spec, "via", spec.via));
    SHUNT_CHECK(into(spec, "members", spec.members));
    path_.pop_back();
    done_.push_back(&spec);
    return {};
  }

  Result<void> into(const WayOutSpec& spec, std::string_view key,
                    const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      const WayOutSpec* next = find_spec(specs_, name);
      if (next == nullptr) continue;  // "direct", or a mistake that is told elsewhere
      if (std::ranges::find(path_, next) != path_.end()) return cycle(spec, key, *next);
      SHUNT_CHECK(from(*next));
    }
    return {};
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
  std::vector<const WayOutSpec*> done_;
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
