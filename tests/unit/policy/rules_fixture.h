// SPDX-License-Identifier: GPL-2.0-only
// Rules and facts as tests write them.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flow/facts.h"
#include "policy/ruleset.h"

namespace shunt {

using Rules = std::shared_ptr<const Ruleset>;

inline PolicySource policy_source(std::vector<std::string> texts,
                                  std::string_view fallback = "direct") {
  PolicySource source{.rules = {},
                      .fallback = {.text = std::string(fallback), .place = {}},
                      .ways_out = {"wan2", "office"},
                      .folder = {},
                      .country_file = {},
                      .asn_file = {}};
  for (std::string& text : texts) source.rules.push_back({.text = std::move(text), .place = {}});
  return source;
}

inline Rules compiled(PolicySource source) {
  auto rules = Ruleset::compile(std::move(source));
  if (!rules) {
    ADD_FAILURE() << rules.error().front().message << "\n" << rules.error().front().place;
    return Ruleset::compile({}).value();
  }
  return *std::move(rules);
}

inline Rules compiled(std::vector<std::string> texts, std::string_view fallback = "direct") {
  return compiled(policy_source(std::move(texts), fallback));
}

/// A forwarded TCP flow of which nothing but the plain facts is known.
inline Facts flow_to(std::string_view destination, std::string_view client = "192.0.2.10:50000") {
  return Facts{.client = *Endpoint::parse(client), .destination = *Endpoint::parse(destination)};
}

inline Facts named(Facts facts, std::string_view name, bool verified = true) {
  facts.name = {.state = FactState::known,
                .name = std::string(name),
                .source = NameSource::tls_sni,
                .verified = verified};
  return facts;
}

}  // namespace shunt
