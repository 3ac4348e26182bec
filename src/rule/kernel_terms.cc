// SPDX-License-Identifier: GPL-2.0-only
#include "rule/kernel_terms.h"

#include <algorithm>

namespace shunt {

bool is_kernel_term(const Term& term) {
  const auto is_list = [](const Value& value) { return value.form == ValueForm::list; };
  return !term.negated && std::ranges::find(kKernelKeys, term.key) != kKernelKeys.end() &&
         std::ranges::none_of(term.values, is_list);
}

}  // namespace shunt
