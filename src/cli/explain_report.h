// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/explain_fake.h"
#include "cli/explain_flow.h"

namespace shunt::cli {

struct ExplainedFlow {
  const Ruleset& rules;
  const Facts& facts;
  const FlowAnswer& answer;
  bool with_capture = true;  ///< false: only rules were asked about
  std::uint32_t sniff_wait_ms = 0;
  std::optional<FakeDestination> fake = {};  ///< what its destination stands for
  /// let_in_text() of a connection that the gateway captures; "": it is none.
  std::string let_in = {};
};

/// A table for people, each line escaped.
std::string explain_text(const ExplainedFlow& flow);
/// One line of JSON (docs/json.md).
std::string explain_json(const ExplainedFlow& flow);

}  // namespace shunt::cli
