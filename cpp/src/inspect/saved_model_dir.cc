#include "inspect/saved_model_dir.h"

#include <charconv>
#include <filesystem>

#include "savedmodel/error.h"
#include "savedmodel/saved_model.h"

namespace savedmodel {

namespace {

namespace fs = std::filesystem;

// The number that a directory of versions calls this entry by, as TensorFlow Serving
// does: decimal digits only.
std::optional<std::int64_t> VersionNumber(const std::string& name) {
  std::int64_t number = 0;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data(), end, number);
  if (error != std::errc() || stop != end || name.front() == '-') return std::nullopt;
  return number;
}

}  // namespace

std::string LocalPath(const std::string& path) {
  constexpr std::string_view kScheme = "file://";
  if (path.compare(0, kScheme.size(), kScheme) != 0) return path;
  const std::size_t begin = path.find('/', kScheme.size());
  return begin == std::string::npos ? "" : path.substr(begin);
}

std::string SavedModelFormat(const std::string& export_dir) {
  std::error_code ignored;
  for (const char* format : {"pb", "pbtxt", "cpb"}) {
    const fs::path file = fs::path(export_dir) / (std::string("saved_model.") + format);
    if (fs::is_regular_file(file, ignored)) return format;
  }
  return "";
}

std::map<std::int64_t, std::string> ListVersions(const std::string& path) {
  std::map<std::int64_t, std::string> versions;
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    const auto number = VersionNumber(it->path().filename().string());
    if (number && !SavedModelFormat(it->path().string()).empty())
      versions.emplace(*number, it->path().string());
  }
  if (error) {
    throw Error(error == std::errc::permission_denied ? ErrorCode::kPermissionDenied
                                                      : ErrorCode::kUnknown,
                "cannot read '" + path + "': " + error.message());
  }
  return versions;
}

bool ContainsSavedModel(const std::string& export_dir) {
  return !SavedModelFormat(LocalPath(export_dir)).empty();
}

std::string ResolveExportDir(const std::string& given,
                             std::optional<std::int64_t> version) {
  const std::string path = LocalPath(given);
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    throw Error(ErrorCode::kNotFound, "no such SavedModel directory: '" + given + "'");
  }
  if (!fs::is_directory(status)) {
    throw Error(ErrorCode::kNotFound,
                "'" + given +
                    "' is not a directory; a SavedModel is the directory that holds "
                    "saved_model.pb");
  }
  if (!version && !SavedModelFormat(path).empty()) return path;

  const std::map<std::int64_t, std::string> versions = ListVersions(path);
  if (version) {
    const auto found = versions.find(*version);
    if (found != versions.end()) return found->second;
    std::string there;
    for (const auto& [number, folder] : versions)
      there += (there.empty() ? "" : ", ") + std::to_string(number);
    throw Error(ErrorCode::kNotFound,
                "no version " + std::to_string(*version) + " under '" + given +
                    "'; versions there: " + (there.empty() ? "none" : there));
  }
  if (!versions.empty()) return versions.rbegin()->second;
  throw Error(
      ErrorCode::kNotFound,
      "no SavedModel in '" + given +
          "': it holds neither saved_model.pb nor saved_model.pbtxt nor saved_model.cpb, "
          "nor numbered versions that do");
}

}  // namespace savedmodel
