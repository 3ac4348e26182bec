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
// Where all destination NAT is done: the owned table lets pass what it has captured, then the
// closed one judges what is left.
constexpr int kPass = -95;
constexpr int kJudge = -90;

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

/// Takes the mark of the closed table off what is captured. Without that table nothing bears it.
std::string pass(std::string_view name, std::string_view hook, std::string_view scope,
                 const Marks& marks, std::uint32_t mark) {
  return nft_chain(
      name, fmt::format("filter hook {} priority {}", hook, kPass),
      {fmt::format("{}{} {} {}", scope, marks.match(mark), marks.match(mark, "ct"), marks.set(0))});
}

std::vector<std::string> mark_candidates(std::vector<std::string> let_go, const CaptureSpec& spec,
                                         std::uint32_t mark) {
  let_go.push_back(spec.marks.set(mark));
  return let_go;
}

std::string mark_captured(std::string_view scope, const Marks& marks, std::uint32_t mark) {
  return fmt::format("{}meta l4proto tcp {} ct direction original {}", scope,
                     marks.match(mark, "ct"), marks.set(mark));
}

/// What still bears `mark` should have been captured, or was, and nobody lives to take it.
std::string judge(std::string_view name, std::string_view hook, std::string_view scope,
                  const Marks& marks, std::uint32_t mark) {
  const std::string left_over = fmt::format("{}{}", scope, marks.match(mark));
  return nft_chain(name, fmt::format("filter hook {} priority {}", hook, kJudge),
                   {fmt::format("{} {} drop", left_over, kTcpSyn),
                    fmt::format("{} meta l4proto tcp reject with tcp reset", left_over)});
}

std::string closed_forwarded(const CaptureSpec& spec) {
  const std::uint32_t mark = spec.marks.forwarded;
  const std::string lan = fmt::format("iifname {} ", interface_set(spec.interfaces));
  return nft_chain("prerouting", "filter hook prerouting priority mangle + 1",
                   {fmt::format("{}{} goto {}", lan, kTcpSyn, kNewForwarded),
                    mark_captured(lan, spec.marks, mark)}) +
         nft_chain(kNewForwarded, "", mark_candidates(forwarded_let_go(spec), spec, mark)) +
         judge("prerouting_judge", "prerouting", lan, spec.marks, mark);
}

std::string closed_own(const CaptureSpec& spec) {
  const std::uint32_t mark = spec.marks.own;
  return nft_chain(
             "output", "filter hook output priority mangle + 1",
             {fmt::format("{} return", spec.marks.match(spec.marks.egress)),
              fmt::format("{} goto {}", kTcpSyn, kNewOwn), mark_captured("", spec.marks, mark)}) +
         nft_chain(kNewOwn, "", mark_candidates(own_let_go(spec), spec, mark)) +
         judge("output_judge", "output", "", spec.marks, mark);
}

/// Sockets of a shunt that was killed go on asking clients to close. Where connection tracking does
/// not know one of these any more the client sees the listener's own address, and the kernel
/// answers by the interface whose address the client had, also where that answer is for ::1
/// (rt6_need_strict() in tcp_v6_send_response()). In front of what translates: behind it ::1 is
/// where captured traffic goes.
std::string keep_loopback_in(const CaptureSpec& spec) {
  if (!spec.host) return {};
  return nft_chain("loopback_out", "filter hook output priority raw",
                   {"oifname != \"lo\" ip6 daddr ::1 drop"});
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
    text +=
        pass("prerouting_pass", "prerouting",
             fmt::format("iifname {} ", interface_set(spec.interfaces)), marks, marks.forwarded);
  }
  if (spec.host) {
    text += nft_chain("output", kOwnHook,
                      {fmt::format("{} return", marks.match(marks.egress)),
                       fmt::format("{} goto {}", kTcpSyn, kNewOwn)});
    text += nft_chain(kNewOwn, "", take(own_let_go(spec), spec, marks.own));
    text += pass("output_pass", "output", "", marks, marks.own);
  }
  return text + keep_loopback_in(spec) + input_chain(spec) + kernel_rule_chains(spec) +
         masquerade_chain(spec);
}

std::string closed_ruleset(const CaptureSpec& spec) {
  // Empty, but the kernel translates only while some nat chain is there.
  std::string text = nft_chain("keep_translating", kForwardedHook, {});
  if (!spec.interfaces.empty()) text += closed_forwarded(spec);
  if (spec.host) text += closed_own(spec);
  return text + keep_loopback_in(spec) + kernel_rule_chains(spec);
}

}  // namespace shunt::redirect
