// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/quic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "base/counters.h"
#include "base/limits.h"
#include "sniff/tls.h"
#include "unit/sniff/quic_samples.h"
#include "unit/sniff/quic_vectors.h"
#include "unit/sniff/tls_samples.h"

namespace shunt {
namespace {

using quic_samples::crypto;
using quic_samples::initial;
using quic_samples::other_packet;
using quic_vectors::from_hex;
using State = QuicHelloReader::State;
using ::testing::ElementsAre;

constexpr const char* kName = "www.example.com";

/// As Chrome's: a key share of more than a kilobyte in front of the name.
std::string large_hello() {
  using namespace tls_samples;  // NOLINT(google-build-using-namespace)
  return client_hello_message(extension(51, std::string(1250, 'k')) + server_name(kName) +
                              alpn({"h3"}) + extension(57, std::string(300, 't')));
}

std::string small_hello() {
  using namespace tls_samples;  // NOLINT(google-build-using-namespace)
  return client_hello_message(server_name(kName) + alpn({"h3", "h3-29"}));
}

/// "need more", "stopped", or the name of the hello.
std::string read(const std::vector<std::string>& datagrams) {
  QuicHelloReader reader;
  for (const std::string& datagram : datagrams) reader.feed(datagram);
  if (reader.state() == State::need_more) return "need more";
  if (reader.state() == State::stopped) return "stopped";
  const auto hello = parse_client_hello(reader.body());
  return hello ? hello->server_name : "malformed";
}

/// One datagram for each payload, numbered in their order.
std::vector<std::string> datagrams_of(const std::vector<std::string>& payloads) {
  std::vector<std::string> datagrams;
  for (const std::string& payload : payloads) {
    datagrams.push_back(initial({.payload = payload, .number = datagrams.size()}));
  }
  return datagrams;
}

TEST(Quic, keys_are_those_of_the_rfcs) {
  const std::string id = from_hex("8394c8f03e515708");
  const auto hex = [](const auto& bytes) {
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  const QuicInitialKeys one = client_initial_keys(QuicVersion::v1, id);
  EXPECT_EQ(hex(one.key), from_hex("1f369613dd76d5467730efcbe3b1a22d"));
  EXPECT_EQ(hex(one.iv), from_hex("fa044b2f42a3fd3b46fb255c"));
  EXPECT_EQ(hex(one.header), from_hex("9f50449e04a0e810283a1e9933adedd2"));
  const QuicInitialKeys two = client_initial_keys(QuicVersion::v2, id);
  EXPECT_EQ(hex(two.key), from_hex("8b1a0bc121284290a29e0971b5cd045d"));
  EXPECT_EQ(hex(two.iv), from_hex("91f73e2351d8fa91660e909f"));
  EXPECT_EQ(hex(two.header), from_hex("45b95e15235d6f45a6b19cbcb0294ba9"));
}

TEST(Quic, packets_of_the_rfcs_give_their_hello) {
  for (const auto vector : {quic_vectors::kVersion1, quic_vectors::kVersion2}) {
    QuicHelloReader reader;
    ASSERT_EQ(reader.feed(from_hex(vector)), State::complete);
    EXPECT_EQ(reader.body(), from_hex(quic_vectors::kClientHello).substr(4));
    const auto hello = parse_client_hello(reader.body());
    ASSERT_TRUE(hello);
    EXPECT_EQ(hello->server_name, "example.com");
    EXPECT_THAT(hello->alpn, ElementsAre("alpn"));
  }
}

TEST(Quic, hello_gives_name_protocols_and_ech) {
  using namespace tls_samples;  // NOLINT(google-build-using-namespace)
  const std::string message =
      client_hello_message(server_name(kName) + alpn({"h3"}) + extension(0xfe0d, "e"));
  for (const auto version : {QuicVersion::v1, QuicVersion::v2}) {
    QuicHelloReader reader;
    ASSERT_EQ(reader.feed(initial({.payload = crypto(0, message), .version = version})),
              State::complete);
    const auto hello = parse_client_hello(reader.body());
    ASSERT_TRUE(hello);
    EXPECT_EQ(hello->server_name, kName);
    EXPECT_THAT(hello->alpn, ElementsAre("h3"));
    EXPECT_TRUE(hello->ech);
  }
}

TEST(Quic, header_fields_of_every_length_are_passed_over) {
  for (const std::size_t bytes : {1, 2, 3, 4}) {
    for (const std::size_t token : {0, 1, 63, 64, 500}) {
      for (const std::size_t id : {0, 1, 8, 20}) {
        const std::string datagram = initial({.payload = crypto(0, small_hello()),
                                              .connection_id = std::string(id, 'i'),
                                              .source_id = std::string(id, 's'),
                                              .token = std::string(token, 't'),
                                              .number = 0x21,
                                              .number_bytes = bytes});
        EXPECT_EQ(read({datagram}), kName) << bytes << ' ' << token << ' ' << id;
      }
    }
  }
}

TEST(Quic, every_split_over_two_datagrams_in_either_order_gives_the_same_answer) {
  const std::string message = large_hello();
  for (std::size_t at = message.size() - 1150; at <= 1150; at += 3) {
    const auto parts =
        datagrams_of({crypto(0, message.substr(0, at)), crypto(at, message.substr(at))});
    EXPECT_EQ(read(parts), kName) << at;
    EXPECT_EQ(read({parts[1], parts[0]}), kName) << at;
    EXPECT_EQ(read({parts[0], parts[0], parts[1]}), kName) << at;
    EXPECT_EQ(read({parts[0]}), "need more") << at;
    EXPECT_EQ(read({parts[1]}), "need more") << at;
  }
}

TEST(Quic, small_frames_in_any_order_that_overlap_give_the_same_answer) {
  const std::string message = large_hello();
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> frames;
    for (std::size_t at = 0; at < message.size();) {
      const std::size_t size = 20 + random() % 200;
      const std::size_t before = std::min<std::size_t>(at, random() % 30);
      frames.push_back(crypto(at - before, message.substr(at - before, size + before)));
      at += size;
    }
    std::ranges::shuffle(frames, random);
    std::vector<std::string> payloads(1);
    for (const std::string& frame : frames) {
      if (payloads.back().size() + frame.size() > 1100) payloads.emplace_back();
      payloads.back() += std::string(random() % 4, '\0') + '\x01' + frame;  // PADDING, PING
    }
    EXPECT_EQ(read(datagrams_of(payloads)), kName) << round;
  }
}

TEST(Quic, acknowledgements_in_between_are_passed_over) {
  const std::string ack{'\x02', '\x40', '\x10', '\x00', '\x01', '\x00', '\x01', '\x02'};
  const std::string ecn{'\x03', '\x05', '\x00', '\x00', '\x00', '\x01', '\x02', '\x03'};
  EXPECT_EQ(read({initial({.payload = ack + ecn + crypto(0, small_hello())})}), kName);
}

TEST(Quic, coalesced_packets_are_told_apart) {
  const std::string message = small_hello();
  const std::string first =
      initial({.payload = crypto(0, message.substr(0, 60)), .number = 0, .packet_bytes = 0});
  const std::string second =
      initial({.payload = crypto(60, message.substr(60)), .number = 1, .packet_bytes = 0});
  const std::string early = other_packet(1, 300);
  EXPECT_EQ(read({first + second + early}), kName);
  EXPECT_EQ(read({early + first + other_packet(2, 70) + second}), kName);
  EXPECT_EQ(read({second + early + first}), kName);
  EXPECT_EQ(read({first + early}), "need more");
  const std::string short_header = '\x40' + std::string(50, 'x');
  EXPECT_EQ(read({first + short_header + second}), "need more");  // that one has no length
}

TEST(Quic, later_packets_are_opened_with_the_first_ones_keys) {
  const std::string message = large_hello();
  const std::string id = "\x83\x94\xc8\xf0\x3e\x51\x57\x08";
  const std::string first = initial({.payload = crypto(0, message.substr(0, 1000))});
  const std::string later = initial({.payload = crypto(1000, message.substr(1000)),
                                     .connection_id = "server's",
                                     .keyed_by = id,
                                     .number = 1});
  EXPECT_EQ(read({first, later}), kName);
}

TEST(Quic, packet_that_no_key_opens_is_passed_over) {
  const std::string wrong =
      initial({.payload = crypto(0, "not a hello"), .keyed_by = "somebody else"});
  EXPECT_EQ(read({wrong}), "need more");
  const std::string right = initial({.payload = crypto(0, small_hello())});
  EXPECT_EQ(read({wrong, right}), kName);
  for (const std::size_t at : {0, 20, 27, 40, 1199}) {
    std::string changed = right;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_EQ(read({changed}), "need more") << at;
    EXPECT_EQ(read({changed, right}), kName) << at;
  }
}

TEST(Quic, other_versions_and_negotiation_say_nothing) {
  std::string unknown = initial({.payload = crypto(0, small_hello())});
  unknown[4] = 9;
  EXPECT_TRUE(is_quic_initial(unknown));
  EXPECT_EQ(read({unknown}), "stopped");
  unknown.replace(1, 4, 4, '\0');
  EXPECT_FALSE(is_quic_initial(unknown));
  EXPECT_EQ(read({unknown}), "stopped");
}

TEST(Quic, what_no_server_would_accept_stops_it) {
  const auto one = [](const std::string& payload) { return read({initial({.payload = payload})}); };
  EXPECT_EQ(one("\x08stream"), "stopped");
  EXPECT_EQ(one(std::string("\x1c\x00\x00\x00", 4)), "stopped");  // CONNECTION_CLOSE
  EXPECT_EQ(one(crypto(0, "\x02 a server hello")), "stopped");
  EXPECT_EQ(one(crypto(0, std::string(4, 1)) + crypto(1, "\x02")), "stopped");  // says two things
  EXPECT_EQ(one(std::string("\x02\x05\x00\xff", 4)), "stopped");                // an ACK cut short
  EXPECT_EQ(one(std::string("\x06\x00\x7f\xff", 4)), "stopped");  // a CRYPTO cut short
}

TEST(Quic, what_comes_when_it_has_stopped_changes_nothing) {
  const std::string hello = initial({.payload = crypto(0, small_hello())});
  QuicHelloReader reader;
  reader.feed(initial({.payload = "\x08"}));
  EXPECT_EQ(reader.feed(hello), State::stopped);
  QuicHelloReader complete;
  complete.feed(hello);
  EXPECT_EQ(complete.feed(initial({.payload = "\x08"})), State::complete);
}

TEST(Quic, hello_that_announces_too_much_stops_it) {
  const auto before = counted(Counter::tls_hellos_too_long);
  EXPECT_EQ(read({initial({.payload = crypto(0, std::string("\x01\x00\x40\x00", 4))})}), "stopped");
  EXPECT_EQ(read({initial({.payload = crypto(limits::kTlsHelloBytes, "x")})}), "stopped");
  EXPECT_EQ(read({initial({.payload = crypto((1ULL << 62) - 1, "x")})}), "stopped");
  EXPECT_EQ(counted(Counter::tls_hellos_too_long), before + 3);
}

TEST(Quic, only_so_many_datagrams_are_looked_at) {
  const std::string message = small_hello();
  const std::string nothing = initial({.payload = "\x01"});
  std::vector<std::string> datagrams(limits::kQuicHelloDatagrams - 1, nothing);
  datagrams.push_back(initial({.payload = crypto(0, message)}));
  EXPECT_EQ(read(datagrams), kName);
  const auto before = counted(Counter::quic_hellos_given_up);
  datagrams.insert(datagrams.begin(), nothing);
  EXPECT_EQ(read(datagrams), "stopped");
  EXPECT_EQ(counted(Counter::quic_hellos_given_up), before + 1);
}

TEST(Quic, only_so_many_pieces_are_kept) {
  std::string payload;
  for (std::size_t i = 0; i < limits::kQuicCryptoPieces; ++i) payload += crypto(2 + 2 * i, "x");
  EXPECT_EQ(read({initial({.payload = payload})}), "need more");
  payload += crypto(2 + 2 * limits::kQuicCryptoPieces, "x");
  EXPECT_EQ(read({initial({.payload = payload})}), "stopped");
}

TEST(Quic, every_truncated_or_changed_payload_is_survived) {
  const std::string payload = crypto(5, "world") + "\x01" + crypto(0, "hello") +
                              std::string("\x02\x05\x00\x01\x00\x01\x02", 7);
  for (std::size_t at = 0; at < payload.size(); ++at) {
    QuicCryptoStream stream;
    (void)read_initial_frames(std::string_view(payload).substr(0, at), stream);
    for (const int value : {0, 1, 2, 6, 0x3f, 0x40, 0x80, 0xc0, 0xff}) {
      std::string changed = payload;
      changed[at] = static_cast<char>(value);
      QuicCryptoStream other;
      (void)read_initial_frames(changed, other);
      EXPECT_LE(other.beginning().size(), payload.size());
    }
  }
}

TEST(Quic, every_truncated_datagram_needs_more) {
  const std::string datagram = initial({.payload = crypto(0, small_hello()), .token = "token"});
  for (std::size_t size = 0; size < datagram.size(); ++size) {
    EXPECT_EQ(read({datagram.substr(0, size)}), "need more") << size;
  }
}

// RFC 9287: a client clears it towards servers that it knows.
TEST(Quic, fixed_bit_may_be_clear_in_a_known_version) {
  const std::string datagram = initial({.payload = crypto(0, small_hello()), .fixed_bit = false});
  EXPECT_TRUE(is_quic_initial(datagram));
  EXPECT_EQ(read({datagram}), kName);
  std::string unknown = datagram;
  unknown[4] = 9;
  EXPECT_FALSE(is_quic_initial(unknown));
  EXPECT_TRUE(is_quic_initial(static_cast<char>(0xc0) + unknown.substr(1)));
}

TEST(Quic, long_header_tells_both_connection_ids) {
  const auto of = [](std::string_view datagram) {
    const auto header = quic_long_header(datagram);
    return header
               ? std::optional(std::tuple(header->kind, header->destination_id, header->source_id))
               : std::nullopt;
  };
  using Kind = QuicPacketKind;
  const std::string datagram = initial({.payload = crypto(0, small_hello()), .source_id = "mine"});
  EXPECT_EQ(of(datagram), std::tuple(Kind::initial, "\x83\x94\xc8\xf0\x3e\x51\x57\x08", "mine"));
  EXPECT_EQ(of(quic_samples::long_packet(2, "", "servers")),
            std::tuple(Kind::handshake, "", "servers"));
  EXPECT_EQ(of(initial({.version = QuicVersion::v2, .connection_id = "12345678"})),
            std::tuple(Kind::initial, "12345678", "me"));
  EXPECT_EQ(of(quic_samples::long_packet(3, "a", "b")), std::tuple(Kind::retry, "a", "b"));
  EXPECT_EQ(of(quic_samples::long_packet(2, std::string(21, 'a'), "b")), std::nullopt);
  EXPECT_EQ(of(quic_samples::short_packet("12345678")), std::nullopt);
  for (std::size_t size = 0; size < 1 + 4 + 1 + 8 + 1 + 4; ++size) {
    EXPECT_EQ(of(datagram.substr(0, size)), std::nullopt) << size;
  }
}

TEST(Quic, short_header_has_an_id_of_the_length_that_is_asked_for) {
  const std::string datagram = "\x43\x01\x02\x03\x04";
  EXPECT_EQ(quic_short_id(datagram, 4), "\x01\x02\x03\x04");
  EXPECT_EQ(quic_short_id(datagram, 2), "\x01\x02");
  EXPECT_EQ(quic_short_id('\x03' + datagram.substr(1), 2), "\x01\x02");
  EXPECT_EQ(quic_short_id(datagram, 5), "");
  EXPECT_EQ(quic_short_id("", 0), "");
  EXPECT_EQ(quic_short_id('\xc3' + datagram.substr(1), 4), "");
}

}  // namespace
}  // namespace shunt
