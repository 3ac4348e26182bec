// SPDX-License-Identifier: GPL-2.0-only
// One connection through ways out that a configuration would describe, without capturing anything:
//
//   way_out 'name=near proxy=socks5://192.0.2.1' 'name=far proxy=http://192.0.2.2 via=near'
//           far 203.0.113.10:80 < words
//   way_out --decode < bytes
//
// Lists are joined by '+'. Sends its standard input and prints what comes back until the other side
// has said its end; then, on standard error, which way out it was. Exit code 1 with
// "REASON: DETAIL" where it could not connect, 3 for a mistake in the ways out.
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "egress/stream_io.h"
#include "egress/way_out_spec.h"

namespace {

using namespace shunt;

constexpr std::uint32_t kPatienceMs = 10'000;
constexpr std::uint32_t kConnectMs = 3'000;

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto end = text.find(at);
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return parts;
}

std::string standard_input() {
  std::string all;
  char buffer[4096];
  for (ssize_t count = 0; (count = ::read(0, buffer, sizeof buffer)) > 0;) {
    all.append(buffer, static_cast<std::size_t>(count));
  }
  return all;
}

[[noreturn]] void wrong(std::string_view what) {
  std::fprintf(stderr, "way_out: %.*s\n", static_cast<int>(what.size()), what.data());
  std::exit(2);
}

GroupKind group_kind(std::string_view name) {
  if (name == "failover") return GroupKind::failover;
  if (name == "round-robin") return GroupKind::round_robin;
  if (name == "least-latency") return GroupKind::least_latency;
  if (name == "hash") return GroupKind::hash_client;
  wrong(name);
}

void set(WayOutSpec& spec, std::string_view key, const std::string& value) {
  if (key == "name") {
    spec.name = value;
  } else if (key == "proxy") {
    spec.proxy = value;
  } else if (key == "interface") {
    spec.interface = value;
  } else if (key == "mark") {
    spec.mark = static_cast<std::uint32_t>(std::strtoul(value.c_str(), nullptr, 0));
  } else if (key == "source") {
    for (const auto& text : split(value, '+')) spec.source.push_back(*Address::parse(text));
  } else if (key == "resolve") {
    spec.resolve = true;
  } else if (key == "user") {
    spec.user = value;
  } else if (key == "password-file") {
    spec.password_file = value;
  } else if (key == "tls-ca") {
    spec.tls_ca = value;
  } else if (key == "tls-server-name") {
    spec.tls_server_name = value;
  } else if (key == "via") {
    spec.via = split(value, '+');
  } else if (key == "proxy-protocol") {
    spec.proxy_protocol = value == "v1" ? proxy_protocol::Version::v1 : proxy_protocol::Version::v2;
  } else if (key == "group") {
    spec.group = group_kind(value);
  } else if (key == "members") {
    spec.members = split(value, '+');
  } else {
    wrong(key);
  }
}

Task<> receive_all(EventLoop& loop, Upstream& upstream, int& exit_code) {
  std::string received = std::move(upstream.early_data);
  const Deadline deadline(kPatienceMs);
  for (;;) {
    std::fwrite(received.data(), 1, received.size(), stdout);
    char buffer[16384];
    const auto count = co_await receive_some(loop, upstream, buffer, sizeof buffer, deadline);
    if (!count) {
      std::fprintf(stderr, "%s\n", std::string(reason_text(count.error().reason)).c_str());
      exit_code = 1;
    }
    if (!count || *count == 0) co_return;
    received.assign(buffer, *count);
  }
}

Task<> talk(EventLoop& loop, const WayOut& way_out, const Flow& flow, const Hints& hints,
            int& exit_code) {
  exit_code = 1;
  auto upstream = co_await way_out.connect(loop, flow, hints);
  if (!upstream) {
    std::fprintf(stderr, "%s: %s\n", std::string(reason_text(upstream.error().reason)).c_str(),
                 upstream.error().detail.c_str());
  } else {
    exit_code = 0;
    const std::string words = standard_input();
    const Deadline deadline(kPatienceMs);
    auto sent = co_await send_all(loop, *upstream, words, deadline);
    // Some proxies (microsocks) end both directions when one ends: this one says its end last.
    if (sent) co_await receive_all(loop, *upstream, exit_code);
    const auto via = upstream->via.empty() ? way_out.name() : upstream->via;
    std::fprintf(stderr, "via %.*s\n", static_cast<int>(via.size()), via.data());
  }
  loop.stop();
}

int decode() {
  const std::string bytes = standard_input();
  const auto header = proxy_protocol::decode(bytes);
  if (!header.complete()) {
    std::puts(header.malformed() ? "malformed" : "incomplete");
    return 1;
  }
  const auto& value = header.value;
  std::printf("v%d%s %s %s%s%s%s%s%s\n", static_cast<int>(value.version),
              value.local ? " local" : "", value.source.text().c_str(),
              value.destination.text().c_str(), value.has_checksum ? " checksum" : "",
              value.authority.empty() ? "" : " authority=", std::string(value.authority).c_str(),
              value.unique_id.empty() ? "" : " id=", std::string(value.unique_id).c_str());
  std::fwrite(bytes.data() + header.size, 1, bytes.size() - header.size, stdout);
  return 0;
}

}  // namespace

int main(int count, char** words) {
  if (count == 2 && std::string_view(words[1]) == "--decode") return decode();
  if (count < 3) wrong("SPEC… NAME ADDRESS:PORT");
  std::vector<WayOutSpec> specs;
  for (int i = 1; i < count - 2; ++i) {
    WayOutSpec& spec = specs.emplace_back();
    for (const auto& setting : split(words[i], ' ')) {
      const auto equals = setting.find('=');
      if (equals == std::string::npos) wrong(setting);
      set(spec, setting.substr(0, equals), setting.substr(equals + 1));
    }
  }
  const auto made = make_ways_out(specs, {.options = {.connect_timeout_ms = kConnectMs}});
  if (!made) {
    std::fprintf(stderr, "%s\n", made.error().text().c_str());
    return 3;
  }
  const auto way_out = made->find(words[count - 2]);
  const auto destination = Endpoint::parse(words[count - 1]);
  if (way_out == nullptr || !destination) wrong("no such way out, or no address");
  Flow flow;
  flow.source = {*Address::parse("192.0.2.10"), 40000};
  flow.original_destination = *destination;
  const char* host = std::getenv("WAY_OUT_HOST");
  const Hints hints{.host = host == nullptr ? "" : host, .source = NameSource::none};
  auto loop = EventLoop::create();
  if (!loop) return 1;
  int exit_code = 1;
  spawn(talk(**loop, *way_out, flow, hints, exit_code));
  (void)(*loop)->run();
  return exit_code;
}
