#ifndef SAVEDMODEL_CORE_NEAREST_H_
#define SAVEDMODEL_CORE_NEAREST_H_

#include <algorithm>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace savedmodel {

// Levenshtein distance.
inline std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

// "; did you mean 'NAME'?" for the candidate nearest to `name`, or "." if none is near.
template <typename Names>
std::string DidYouMean(std::string_view name, const Names& candidates) {
  std::size_t best = name.size() / 2 + 1;
  std::string_view nearest;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = EditDistance(name, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest.empty() ? "." : "; did you mean '" + std::string(nearest) + "'?";
}

// "'a', 'b'"; "(none)" for no names.
template <typename Names>
std::string QuotedList(const Names& names) {
  std::string list;
  for (const std::string& name : names) {
    if (!list.empty()) list += ", ";
    list += "'" + name + "'";
  }
  return list.empty() ? "(none)" : list;
}

// The message for a signature that a model does not have.
template <typename Names>
std::string UnknownSignature(const std::string& model, const std::string& name,
                             const Names& names) {
  return model + " has no signature '" + name + "'" + DidYouMean(name, names) +
         " Signatures: " + QuotedList(names);
}

}  // namespace savedmodel

#endif  // SAVEDMODEL_CORE_NEAREST_H_
