// SPDX-License-Identifier: GPL-2.0-only
// A DnsService on a loop of its own. Its server is the test, with sockets on loopback, so every
// order of events is the script's.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "egress/direct.h"
#include "proxy/dns_service.h"
#include "unit/proxy/serve_udp_fixture.h"
#include "unit/support/loop_thread.h"
#include "unit/support/tcp_pair.h"

namespace shunt::test {

using Answered = std::optional<std::string>;
using Transport = DnsServerAddress::Transport;

inline constexpr std::uint16_t kClientsId = 0x0707;

inline std::string dns_query(std::string name, std::uint16_t udp_bytes = 0) {
  return *dns::make_query(kClientsId, {.name = std::move(name), .type = dns::type::kA}, udp_bytes);
}

/// Of the server: one address, 198.51.100.`last`.
inline std::string dns_answer(std::string_view query, int last, std::uint32_t ttl_s = 60) {
  const auto parsed = dns::parse(query);
  const dns::Record record{.owner = parsed->question.name,
                           .type = dns::type::kA,
                           .ttl_s = ttl_s,
                           .address = *Address::parse("198.51.100." + std::to_string(last))};
  return dns::make_answer(query, *parsed, dns::Rcode::no_error, {&record, 1});
}

/// "7.7 198.51.100.1", or the rcode in place of the address: what a client sees of it.
inline std::string shown(const Answered& answer) {
  const auto parsed = answer ? dns::parse(*answer) : std::nullopt;
  if (!parsed) return "no answer";
  const std::string id = std::to_string(parsed->id >> 8) + "." + std::to_string(parsed->id & 0xff);
  if (parsed->answers.empty()) return id + " rcode " + std::to_string(parsed->rcode);
  return id + " " + parsed->answers.front().address.text();
}

/// Counts the connections that ways out open.
class OpenUpstreams final : public UpstreamObserver {
 public:
  void opening() override {}
  void opened(const Endpoint& /*local*/, const Endpoint& /*remote*/) override { ++opened_; }
  void not_opened() override {}
  void closed(const Endpoint& /*local*/, const Endpoint& /*remote*/) override { ++closed_; }
  [[nodiscard]] int all() const { return opened_; }
  [[nodiscard]] int now() const { return opened_ - closed_; }

 private:
  std::atomic<int> opened_ = 0;
  std::atomic<int> closed_ = 0;
};

class DnsTest : public testing::Test {
 protected:
  ~DnsTest() override {
    on_loop([this] { loop_.loop().cancel_all(); });
    EXPECT_TRUE(eventually([this] { return running_ == 0; }));
    on_loop([this] { service_.reset(); });
  }

  void start(Transport transport, const Endpoint& server) {
    settings_.server = DnsServerAddress{.transport = transport, .endpoint = server};
    service_ = std::make_unique<DnsService>(
        loop_.loop(), settings_, policy_, log_,
        DnsSurroundings{.start = [this](Task<> task) { spawn(counted(std::move(task))); },
                        .own_listeners = {}});
  }

  /// As a client's query over `protocol`.
  std::future<Answered> ask(std::string query, Protocol protocol = Protocol::udp) {
    return loop_.start<Answered>(
        [this, query = std::move(query), protocol] { return asked(query, protocol); });
  }

  void on_loop(std::function<void()> work) {
    std::promise<void> done;
    loop_.loop().post([&] {
      work();
      done.set_value();
    });
    done.get_future().get();
  }

  OpenUpstreams upstreams_;
  CurrentPolicy policy_{Policy::always(make_direct({.observer = &upstreams_}))};
  DnsSettings settings_;
  EndsLog log_;
  LoopThread loop_;
  std::unique_ptr<DnsService> service_;
  std::atomic<int> running_ = 0;

 private:
  Task<Answered> asked(std::string query, Protocol protocol) {
    ++running_;
    Flow flow;
    flow.protocol = protocol;
    flow.source = {*Address::parse("192.0.2.10"), 40'000};
    flow.original_destination = {*Address::parse("203.0.113.53"), dns::kPort};
    const auto policy = policy_.get();
    auto answer = co_await service_->answer(
        {.bytes = query, .flow = flow, .carrier = policy->carrier(0), .policy = policy});
    --running_;
    co_return answer;
  }
  Task<> counted(Task<> task) {
    ++running_;
    co_await task;
    --running_;
  }
};

}  // namespace shunt::test
