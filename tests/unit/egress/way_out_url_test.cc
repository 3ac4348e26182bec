// SPDX-License-Identifier: GPL-2.0-only
#include "egress/way_out_url.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/error_numbers.h"
#include "egress/secret.h"

namespace shunt {
namespace {

TEST(ProxyUrl, takes_apart_what_the_help_promises) {
  struct Case {
    const char* text;
    ProxyScheme scheme;
    const char* host;
    std::uint16_t port;
    const char* name;
  };
  const Case cases[] = {
      {"socks5://192.0.2.1:9050", ProxyScheme::socks5, "192.0.2.1", 9050,
       "socks5://192.0.2.1:9050"},
      {"socks5h://proxy.example", ProxyScheme::socks5h, "proxy.example", 1080,
       "socks5h://proxy.example:1080"},
      {"SOCKS5H://proxy.example", ProxyScheme::socks5h, "proxy.example", 1080,
       "socks5h://proxy.example:1080"},
      {"http://proxy.example/", ProxyScheme::http, "proxy.example", 8080,
       "http://proxy.example:8080"},
      {"socks5://[2001:db8::1]:1080", ProxyScheme::socks5, "2001:db8::1", 1080,
       "socks5://[2001:db8::1]:1080"},
      {"http://[fe80::1%25eth0]", ProxyScheme::http, "fe80::1%eth0", 8080,
       "http://[fe80::1%eth0]:8080"},
  };
  for (const auto& expected : cases) {
    const auto url = parse_proxy_url(expected.text);
    ASSERT_TRUE(url.has_value()) << expected.text << ": " << url.error().text();
    EXPECT_EQ(url->scheme, expected.scheme);
    EXPECT_EQ(url->host, expected.host);
    EXPECT_EQ(url->port, expected.port);
    EXPECT_EQ(url->user, std::nullopt);
    EXPECT_EQ(url->name(), expected.name);
  }
}

TEST(ProxyUrl, the_user_is_percent_decoded_and_never_in_the_name) {
  const auto url = parse_proxy_url("socks5://al%40corp%3A1@proxy.example:1");
  ASSERT_TRUE(url.has_value());
  EXPECT_EQ(url->user, "al@corp:1");
  EXPECT_EQ(url->name(), "socks5://proxy.example:1");
}

TEST(ProxyUrl, points_at_what_is_wrong) {
  struct Case {
    const char* text;
    const char* carets;
  };
  const Case cases[] = {
      {"", "^"},
      {"proxy.example:1080", "^"},
      {"socks4://proxy.example", "^^^^^^"},
      {"socks5://", "         ^"},
      {"socks5://:1080", "         ^"},
      {"socks5://a:99999", "           ^^^^^"},
      {"socks5://a:0", "           ^"},
      {"socks5://a:", "           ^"},
      {"socks5://a:80x", "           ^^^"},
      {"socks5://a:80/path", "             ^^^^^"},
      {"socks5://a b:80", "          ^"},
      {"socks5://@a:80", "         ^"},
      {"socks5://2001:db8::1:80", "         ^^^^^^^^^^^^^^"},
      {"socks5://[2001:db8::1", "         ^^^^^^^^^^^^"},
      {"socks5://[192.0.2.1]:80", "          ^^^^^^^^^"},
      {"socks5://[::1]80", "              ^^"},
      {"socks5://a%4@b:80", "          ^^"},
      {"socks5://a%00@b:80", "          ^^^"},
      {"http://a%3ab@c", "       ^^^^^"},
  };
  for (const auto& [text, carets] : cases) {
    const auto url = parse_proxy_url(text);
    ASSERT_FALSE(url.has_value()) << text;
    EXPECT_EQ(url.error().kind, Kind::usage);
    EXPECT_EQ(url.error().number, error_number::kBadVia);
    EXPECT_EQ(url.error().place, std::string(text) + "\n" + carets);
  }
}

TEST(ProxyUrl, a_password_is_an_error_that_does_not_repeat_it) {
  for (const char* text :
       {"socks5://alice:hunter2@a:80", "socks5://:hunter2@a", "socks5://alice:x@hunter2@a",
        "alice:hunter2@a", "http2://b:hunter2@a", "socks5://b:hunter2@a:99999/"}) {
    const auto url = parse_proxy_url(text);
    ASSERT_FALSE(url.has_value()) << text;
    EXPECT_FALSE(url.error().place.contains("hunter2")) << url.error().place;
    EXPECT_FALSE(url.error().text().contains("hunter2")) << url.error().text();
  }
  const auto url = parse_proxy_url("socks5://alice:hunter2@a:80");
  EXPECT_EQ(url.error().number, error_number::kPasswordOnCommandLine);
  EXPECT_TRUE(url.error().help.contains("--via-password-file"));
  EXPECT_TRUE(url.error().help.contains("SHUNT_VIA_PASSWORD"));
}

class Secrets : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/shunt-secret-XXXXXX";
    const int fd = ::mkstemp(name);
    ASSERT_GE(fd, 0);
    ::close(fd);
    path_ = name;
    ::unsetenv(kPasswordVariable);
  }
  void TearDown() override {
    ::unlink(path_.c_str());
    ::unsetenv(kPasswordVariable);
  }
  void write(std::string_view text) const { std::ofstream(path_) << text; }
  std::string path_;
};

TEST_F(Secrets, are_the_first_line_of_their_file) {
  for (const char* text : {"secret", "secret\n", "secret\r\n", "secret\nnot this\n"}) {
    write(text);
    EXPECT_EQ(read_password_file(path_).value(), "secret");
  }
  write("");
  EXPECT_EQ(read_password_file(path_).value(), "");
  write(std::string(255, 'x') + "\r\n" + std::string(4000, 'y'));
  EXPECT_EQ(read_password_file(path_).value().size(), 255U);
}

TEST_F(Secrets, have_at_most_255_bytes) {
  for (const std::size_t size : {256U, 100'000U}) {
    write(std::string(size, 'x'));
    const auto secret = read_password_file(path_);
    ASSERT_FALSE(secret.has_value());
    EXPECT_EQ(secret.error().number, error_number::kPasswordFile);
    EXPECT_FALSE(secret.error().text().contains("xx"));
  }
}

TEST_F(Secrets, a_file_that_others_can_read_is_warned_of) {
  write("secret\n");
  ::chmod(path_.c_str(), 0644);
  testing::internal::CaptureStderr();
  EXPECT_TRUE(read_password_file(path_).has_value());
  const std::string warned = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(warned.contains("chmod 600")) << warned;
  EXPECT_FALSE(warned.contains("secret\n"));
  ::chmod(path_.c_str(), 0600);
  testing::internal::CaptureStderr();
  EXPECT_TRUE(read_password_file(path_).has_value());
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_F(Secrets, a_missing_file_says_which) {
  const auto secret = read_password_file("/nonexistent/secret");
  ASSERT_FALSE(secret.has_value());
  EXPECT_TRUE(secret.error().text().contains("/nonexistent/secret: No such file"))
      << secret.error().text();
}

TEST_F(Secrets, come_from_the_file_or_the_environment) {
  write("secret\n");
  const std::string url = "socks5://alice@127.0.0.1:1080";
  EXPECT_FALSE(make_way_out({.url = url, .password_file = {}}, {}).has_value());
  EXPECT_TRUE(make_way_out({.url = url, .password_file = path_}, {}).has_value());
  ::setenv(kPasswordVariable, "", 1);
  EXPECT_TRUE(make_way_out({.url = url, .password_file = {}}, {}).has_value());
  ::setenv(kPasswordVariable, std::string(256, 'x').c_str(), 1);
  EXPECT_FALSE(make_way_out({.url = url, .password_file = {}}, {}).has_value());
}

TEST(MakeWayOut, names_what_it_made) {
  const auto name = [](const char* url) {
    const auto out = make_way_out({.url = url, .password_file = {}}, {});
    return out ? std::string((*out)->name()) : out.error().text();
  };
  EXPECT_EQ(name(""), "direct");
  EXPECT_EQ(name("socks5://127.0.0.1"), "socks5://127.0.0.1:1080");
  EXPECT_EQ(name("socks5h://[::1]:9"), "socks5h://[::1]:9");
  EXPECT_EQ(name("http://localhost:3128"), "http://localhost:3128");
}

TEST(MakeWayOut, a_password_file_needs_a_user) {
  EXPECT_FALSE(make_way_out({.url = "", .password_file = "/dev/null"}, {}).has_value());
  const auto out = make_way_out({.url = "socks5://a:1", .password_file = "/dev/null"}, {});
  ASSERT_FALSE(out.has_value());
  EXPECT_EQ(out.error().help, "--via socks5://USER@a:1");
}

TEST(MakeWayOut, an_unknown_host_is_an_error_at_the_start) {
  const auto out = make_way_out({.url = "socks5://no-such-host.invalid", .password_file = {}}, {});
  ASSERT_FALSE(out.has_value());
  EXPECT_TRUE(
      out.error().message.starts_with("the proxy of --via: cannot resolve no-such-host.invalid"))
      << out.error().text();
}

}  // namespace
}  // namespace shunt
