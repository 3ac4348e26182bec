// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/sysctl.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "in_namespace.h"
#include "kernel/links.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

constexpr std::string_view kForward = "net/ipv4/ip_forward";
constexpr std::string_view kPlain = "net/ipv4/conf/lo/rp_filter";

std::string value(std::string_view path) { return read_sysctl(path).value_or("?"); }

/// A name for a journal. Of the test, not of the child that runs in a namespace: what is written
/// there goes however that child ends.
class JournalFile {
 public:
  JournalFile() {
    ::close(::mkstemp(name_.data()));
    ::unlink(name_.c_str());
  }
  ~JournalFile() { ::unlink(name_.c_str()); }
  JournalFile(const JournalFile&) = delete;
  JournalFile& operator=(const JournalFile&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  std::string name_ = testing::TempDir() + "shunt-journal-XXXXXX";
};

TEST(Sysctl, is_named_as_sysctl_does) {
  EXPECT_EQ(sysctl_name("net/ipv4/conf/eth0.1/forwarding"), "net.ipv4.conf.eth0/1.forwarding");
}

TEST(SysctlJournal, restores_what_it_raised) {
  const JournalFile file;
  run_in_test_namespace([&](Checks& check) {
    const SysctlJournal journal(file.name());
    static_cast<void>(write_sysctl(kPlain, "0"));
    check.ok(journal.raise(kPlain, "2"), "raise");
    check.that(value(kPlain) == "2" && !journal.empty(), "raised");
    check.ok(journal.raise(kPlain, "2"), "raise again");
    const auto report = journal.restore();
    check.that(value(kPlain) == "0" && journal.empty(), "restored");
    check.that(report.restored.size() == 1, "said once");
    check.that(journal.restore().restored.empty(), "a second time does nothing");
  });
}

TEST(SysctlJournal, leaves_what_the_user_changed_meanwhile) {
  const JournalFile file;
  run_in_test_namespace([&](Checks& check) {
    const SysctlJournal journal(file.name());
    static_cast<void>(write_sysctl(kPlain, "0"));
    check.ok(journal.raise(kPlain, "2"), "raise");
    static_cast<void>(write_sysctl(kPlain, "1"));
    const auto report = journal.restore();
    check.that(value(kPlain) == "1", "the user's value stays");
    check.that(report.left.size() == 1, "and it is said");
  });
}

TEST(SysctlJournal, undoes_nothing_that_was_journalled_but_never_written) {
  const JournalFile file;
  run_in_test_namespace([&](Checks& check) {
    static_cast<void>(write_sysctl(kPlain, "0"));
    // A crash between the journal and the sysctl, and one in the middle of a line.
    const std::string text = std::string(kPlain) + "\t0\t2\n" + std::string(kPlain) + "\t0";
    check.ok(write_text_file(file.name(), text, O_WRONLY | O_CREAT), "journal");
    const auto report = SysctlJournal(file.name()).restore();
    check.that(value(kPlain) == "0" && report.restored.empty() && report.left.empty(), "nothing");
  });
}

TEST(SysctlJournal, undoes_several_raises_of_one_sysctl_backwards) {
  const JournalFile file;
  run_in_test_namespace([&](Checks& check) {
    const SysctlJournal journal(file.name());
    static_cast<void>(write_sysctl(kPlain, "0"));
    check.ok(journal.raise(kPlain, "1"), "first");
    check.ok(journal.raise(kPlain, "2"), "second");
    static_cast<void>(journal.restore());
    check.that(value(kPlain) == "0", "the first value is back");
  });
}

TEST(SysctlJournal, keeps_a_value_that_the_user_set_between_two_raises) {
  const JournalFile file;
  run_in_test_namespace([&](Checks& check) {
    const SysctlJournal journal(file.name());
    static_cast<void>(write_sysctl(kPlain, "0"));
    check.ok(journal.raise(kPlain, "1"), "first");
    static_cast<void>(write_sysctl(kPlain, "2"));
    check.ok(journal.raise(kPlain, "1"), "second");
    static_cast<void>(journal.restore());
    check.that(value(kPlain) == "2", "the user's value is back");
  });
}

TEST(SysctlJournal, restores_each_interface_s_forwarding_along_with_the_global_one) {
  const JournalFile file;
  run_in_test_namespace([&](Checks& check) {
    const SysctlJournal journal(file.name());
    static_cast<void>(write_sysctl("net/ipv4/conf/all/accept_redirects", "0"));
    static_cast<void>(write_sysctl("net/ipv4/conf/lo/forwarding", "1"));
    check.that(value(kForward) == "0", "off");
    check.ok(journal.raise(kForward, "1"), "raise");
    check.that(value("net/ipv4/conf/default/forwarding") == "1", "the kernel raised all");
    static_cast<void>(journal.restore());
    check.that(value(kForward) == "0", "off again");
    check.that(value("net/ipv4/conf/lo/forwarding") == "1", "one that was on stays on");
    check.that(value("net/ipv4/conf/default/forwarding") == "0", "one that was off is off");
    check.that(value("net/ipv4/conf/all/accept_redirects") == "0", "hardening stays");
  });
}

TEST(SysctlJournal, restores_ipv6_forwarding) {
  const JournalFile file;
  run_in_test_namespace([&](Checks& check) {
    const SysctlJournal journal(file.name());
    const std::string_view path = "net/ipv6/conf/all/forwarding";
    if (!read_sysctl(path)) return;
    static_cast<void>(write_sysctl("net/ipv6/conf/lo/forwarding", "1"));
    check.ok(journal.raise(path, "1"), "raise");
    static_cast<void>(write_sysctl("net/ipv6/conf/default/forwarding", "0"));
    static_cast<void>(journal.restore());
    check.that(value(path) == "0", "off again");
    check.that(value("net/ipv6/conf/lo/forwarding") == "1", "lo as it was");
    check.that(value("net/ipv6/conf/default/forwarding") == "0", "the user's change stays");
  });
}

TEST(SysctlJournal, keeps_nothing_of_a_raise_that_failed) {
  const JournalFile file;
  run_in_test_namespace([&](Checks& check) {
    const SysctlJournal journal(file.name());
    check.that(!journal.raise("net/ipv4/ip_forward", "nonsense"), "refused");
    check.that(!journal.raise("net/ipv4/no_such_thing", "1"), "unknown");
    check.that(journal.empty(), "nothing to undo");
  });
}

}  // namespace
}  // namespace shunt
