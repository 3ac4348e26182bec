// SPDX-License-Identifier: GPL-2.0-only
#include "cli/complete.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/commands.h"
#include "cli/help_text.h"
#include "cli/options.h"

namespace shunt::cli {
namespace {

void add(Completion& to, std::string_view typed, std::string_view text, std::string_view help) {
  if (text.starts_with(typed)) {
    to.candidates.push_back({.text = std::string(text), .help = std::string(help)});
  }
}

const Option* find_option(const Command& command, std::string_view word) {
  for (const Option* option : all_options(command)) {
    const bool is_short = word.size() == 2 && word[0] == '-' && word[1] == option->short_name;
    if (is_short || (word.starts_with("--") && word.substr(2) == option->name)) return option;
  }
  return nullptr;
}

/// `before` stands in front of each candidate: "--method=".
void add_values(Completion& to, const Option& option, std::string_view before,
                std::string_view typed, std::span<const std::string> interfaces) {
  for (const std::string_view choice : option.choices) {
    add(to, typed, fmt::format("{}{}", before, choice), {});
  }
  if (option.type == ValueType::interface) {
    for (const std::string& name : interfaces) {
      add(to, typed, fmt::format("{}{}", before, name), {});
    }
  }
  if (option.type == ValueType::path) to.delegate = Delegate::files;
}

void add_options(Completion& to, const Command& command, std::string_view typed) {
  for (const Option* option : all_options(command)) {
    if (option->hidden) continue;
    add(to, typed, fmt::format("--{}", option->name), option_help(*option));
  }
  add(to, typed, "--help", "show help and exit");
}

/// Completes the last of the words that follow a command's name.
class Completer {
 public:
  Completer(const Command& command, std::span<const std::string_view> words,
            std::span<const std::string> interfaces)
      : command_(&command), words_(words), interfaces_(interfaces) {}

  Completion complete() {
    for (std::size_t i = 0; i + 1 < words_.size(); ++i) {
      const std::string_view word = words_[i];
      if (options_ended_ || word.size() < 2 || word[0] != '-') {
        if (pass_word(i)) return std::move(completion_);
      } else if (word == "--") {
        options_ended_ = true;
      } else if (const Option* option = find_option(*command_, word); takes_next_word(option)) {
        if (++i + 1 < words_.size()) continue;
        add_values(completion_, *option, {}, words_.back(), interfaces_);
        return std::move(completion_);
      }
    }
    complete_last();
    return std::move(completion_);
  }

 private:
  static bool takes_next_word(const Option* option) {
    return option != nullptr && option->type != ValueType::flag;
  }

  /// Whether everything from the word on is left to the shell.
  bool pass_word(std::size_t at) {
    if (const Command* subject = subject_of(*command_, words_[at])) {
      command_ = subject;
      return false;
    }
    if (command_->options_end_at_first_word) {
      leave_command_line(at);
      return true;
    }
    ++seen_words_;
    return false;
  }

  void leave_command_line(std::size_t from) {
    completion_.delegate = Delegate::command_line;
    completion_.first = from + 1;  // behind the command
  }

  void complete_last() {
    const std::string_view typed = words_.back();
    if (!options_ended_ && typed.starts_with("-")) {
      const std::size_t equals = typed.find('=');
      const Option* option = equals == std::string_view::npos
                                 ? nullptr
                                 : find_option(*command_, typed.substr(0, equals));
      if (option == nullptr) return add_options(completion_, *command_, typed);
      return add_values(completion_, *option, typed.substr(0, equals + 1), typed, interfaces_);
    }
    if (seen_words_ >= command_->maximum_words) return;
    for (const std::string_view choice : command_->word_choices)
      add(completion_, typed, choice, {});
    if (command_->options_end_at_first_word && command_->word_choices.empty()) {
      leave_command_line(words_.size() - 1);
    }
  }

  const Command* command_;
  std::span<const std::string_view> words_;
  std::span<const std::string> interfaces_;
  Completion completion_;
  bool options_ended_ = false;
  std::size_t seen_words_ = 0;
};

constexpr std::string_view kBash = R"(# bash completion for shunt
_shunt() {
  local reply line current=$2
  COMPREPLY=()
  # Without readline's own word breaks, or --method=tproxy would arrive as three words.
  local words=() text=${COMP_LINE:0:COMP_POINT}
  read -ra words <<< "$text"
  [[ $text == *[[:space:]] ]] && words+=("")
  mapfile -t reply < <(shunt completion --candidates -- "${words[@]:1}" 2>/dev/null)
  case ${reply[0]-} in
    files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    command\ *)
      local offset=$((${reply[0]#command } + 1))
      if declare -F _command_offset >/dev/null; then
        _command_offset "$offset"
      elif ((${#words[@]} - 1 == offset)); then
        mapfile -t COMPREPLY < <(compgen -c -- "$current")
      else
        compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current")
      fi ;;
    nothing)
      local typed=${words[-1]} cut
      cut=${typed%"$current"}
      for line in "${reply[@]:1}"; do
        line=${line%%$'\t'*}
        COMPREPLY+=("${line#"$cut"}")
      done ;;
  esac
}
complete -F _shunt shunt
)";

constexpr std::string_view kZsh = R"(#compdef shunt
# zsh completion for shunt
_shunt() {
  local -a reply described
  local line
  reply=("${(@f)$(shunt completion --candidates -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  case ${reply[1]} in
    files) _files ;;
    command\ *)
      local offset=$(( ${reply[1]#command } + 1 ))
      shift offset words
      (( CURRENT -= offset ))
      _normal ;;
    nothing)
      for line in "${(@)reply[2,-1]}"; do
        line=${line//:/\\:}
        described+=("${line/$'\t'/:}")
      done
      _describe shunt described ;;
  esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _shunt "$@"; else compdef _shunt shunt; fi
)";

constexpr std::string_view kFish = R"(# fish completion for shunt
function __shunt_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l reply (shunt completion --candidates -- $words[2..-1] 2>/dev/null)
  switch "$reply[1]"
    case files
      __fish_complete_path (commandline -ct)
    case 'command *'
      set -l offset (math (string replace 'command ' '' -- $reply[1]) + 2)
      complete -C (string join -- ' ' (string escape -- $words[$offset..-2]) $words[-1])
    case nothing
      printf '%s\n' $reply[2..-1]
  end
end
complete -c shunt -f -a '(__shunt_complete)'
)";

}  // namespace

Completion complete(std::span<const std::string_view> words,
                    std::span<const std::string> interfaces) {
  Completion completion;
  if (words.empty()) return completion;
  if (words.size() > 1) {
    const Command* command = find_command(words.front());
    return command == nullptr ? completion
                              : Completer(*command, words.subspan(1), interfaces).complete();
  }
  for (const Command* command : commands()) {
    if (!command->hidden) add(completion, words.back(), command->name, command->summary);
  }
  return completion;
}

std::string completion_text(const Completion& completion) {
  std::string out;
  switch (completion.delegate) {
    case Delegate::nothing: out = "nothing\n"; break;
    case Delegate::files: out = "files\n"; break;
    case Delegate::command_line: out = fmt::format("command {}\n", completion.first); break;
  }
  for (const Candidate& candidate : completion.candidates) {
    out += candidate.help.empty() ? fmt::format("{}\n", candidate.text)
                                  : fmt::format("{}\t{}\n", candidate.text, candidate.help);
  }
  return out;
}

std::string_view completion_script(std::string_view shell) {
  if (shell == "bash") return kBash;
  if (shell == "zsh") return kZsh;
  if (shell == "fish") return kFish;
  return {};
}

}  // namespace shunt::cli
