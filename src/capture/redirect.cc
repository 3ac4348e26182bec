// SPDX-License-Identifier: GPL-2.0-only
#include "capture/redirect.h"

#include <fmt/format.h>

#include <cstdint>
#include <vector>

#include "capture/ruleset_text.h"

namespace shunt::redirect {
namespace {

// One before the usual place of destination NAT (-100), so that what is captured does not depend
// on others' port forwardings, as with TPROXY. In numbers: nft 1.0.6 knows the name `dstnat` in
// prerouting alone.
constexpr std::string_view kForwardedHook = "nat hook prerouting priority -101";
constexpr std::string_view kOwnHook = "nat hook output priority -101";
// Where all destination NAT is done.
constexpr int kAfterNat = -90;

std::string not_marked(const Marks& marks, std::uint32_t value, std::string_view what) {
  return fmt::format("{} mark & {:#010x} != {:#010x}", what, marks.mask, value);
}

std::vector<std::string> take(std::vector<std::string> let_go, const CaptureSpec& spec,
                              std::uint32_t mark) {
  let_go.push_back(spec.marks.set(mark, "ct"));
  let_go.push_back(fmt::format("meta l4proto tcp redirect to :{}", spec.port));
  return let_go;
}

std::string input_chain(const CaptureSpec& spec) {
  // Not "reject if not translated": an untracked packet has no status to compare.
  return nft_chain("input", "filter hook input priority filter - 1",
                   {fmt::format("tcp dport {} ct status dnat accept", spec.port),
                    fmt::format("tcp dport {} reject with tcp reset", spec.port)});
}

std::vector<std::string> mark_candidates(std::vector<std::string> let_go, const CaptureSpec& spec,
                                         std::uint32_t mark) {
  let_go.push_back(spec.marks.set(mark));
  return let_go;
}

/// `mark` on the packet says that it should have been captured, on the connection that it was.
std::string judge(std::string_view name, std::string_view hook, std::string_view scope,
                  const CaptureSpec& spec, std::uint32_t mark) {
  const Marks& marks = spec.marks;
  const std::string captured =
      fmt::format("{}meta l4proto tcp {} ct direction original", scope, marks.match(mark, "ct"));
  return nft_chain(
      name, fmt::format("filter hook {} priority {}", hook, kAfterNat),
      {fmt::format("{} fib daddr type != local drop", captured),
       fmt::format("{} tcp dport != {} drop", captured, spec.port),
       fmt::format("{}{} {} drop", scope, marks.match(mark), not_marked(marks, mark, "ct")),
       fmt::format("{}{} {}", scope, marks.match(mark), marks.set(0))});
}

std::string closed_forwarded(const CaptureSpec& spec) {
  const std::uint32_t mark = spec.marks.forwarded;
  const std::string lan = fmt::format("iifname {} ", interface_set(spec.interfaces));
  return nft_chain("prerouting", "filter hook prerouting priority mangle + 1",
                   {fmt::format("{}{} goto {}", lan, kTcpSyn, kNewForwarded)}) +
         nft_chain(kNewForwarded, "", mark_candidates(forwarded_let_go(spec), spec, mark)) +
         judge("prerouting_judge", "prerouting", lan, spec, mark);
}

std::string closed_own(const CaptureSpec& spec) {
  const std::uint32_t mark = spec.marks.own;
  return nft_chain("output", "filter hook output priority mangle + 1",
                   {fmt::format("{} return", spec.marks.match(spec.marks.egress)),
                    fmt::format("{} goto {}", kTcpSyn, kNewOwn)}) +
         nft_chain(kNewOwn, "", mark_candidates(own_let_go(spec), spec, mark)) +
         judge("output_judge", "output", "", spec, mark);
}

}  // namespace

std::string ruleset(const CaptureSpec& spec) {
  const Marks& marks = spec.marks;
  std::string text;
  if (!spec.interfaces.empty()) {
    text += nft_chain("prerouting", kForwardedHook,
                      {fmt::format("iifname {} {} goto {}", interface_set(spec.interfaces), kTcpSyn,
                                   kNewForwarded)});
    text += nft_chain(kNewForwarded, "", take(forwarded_let_go(spec), spec, marks.forwarded));
  }
  if (spec.host) {
    text += nft_chain("output", kOwnHook,
                      {fmt::format("{} return", marks.match(marks.egress)),
                       fmt::format("{} goto {}", kTcpSyn, kNewOwn)});
    text += nft_chain(kNewOwn, "", take(own_let_go(spec), spec, marks.own));
  }
  return text + input_chain(spec) + masquerade_chain(spec);
}

std::string closed_ruleset(const CaptureSpec& spec) {
  std::string text;
  if (!spec.interfaces.empty()) text += closed_forwarded(spec);
  if (spec.host) text += closed_own(spec);
  return text;
}

}  // namespace shunt::redirect
