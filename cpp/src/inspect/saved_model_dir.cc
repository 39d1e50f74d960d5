#include <sys/stat.h>

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

bool ContainsSavedModel(const std::string& export_dir) {
  std::error_code ignored;
  return fs::is_regular_file(fs::path(export_dir) / "saved_model.pb", ignored) ||
         fs::is_regular_file(fs::path(export_dir) / "saved_model.pbtxt", ignored);
}

std::string ResolveExportDir(const std::string& path,
                             std::optional<std::int64_t> version) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    throw Error(ErrorCode::kNotFound, "no such SavedModel directory: '" + path + "'");
  }
  if (!fs::is_directory(status)) {
    throw Error(ErrorCode::kNotFound,
                "'" + path +
                    "' is not a directory; a SavedModel is the directory that holds "
                    "saved_model.pb");
  }
  if (!version && ContainsSavedModel(path)) return path;

  std::optional<std::pair<std::int64_t, std::string>> best;
  std::string found;
  for (fs::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    const auto number = VersionNumber(name);
    if (!number || !ContainsSavedModel(it->path().string())) continue;
    found += (found.empty() ? "" : ", ") + name;
    if (version ? *number == *version : !best || *number > best->first) {
      best.emplace(*number, it->path().string());
    }
  }
  if (error) {
    throw Error(error == std::errc::permission_denied ? ErrorCode::kPermissionDenied
                                                      : ErrorCode::kUnknown,
                "cannot read '" + path + "': " + error.message());
  }
  if (best) return best->second;
  if (version) {
    throw Error(ErrorCode::kNotFound,
                "no version " + std::to_string(*version) + " under '" + path +
                    "'; versions there: " + (found.empty() ? "none" : found));
  }
  throw Error(
      ErrorCode::kNotFound,
      "no SavedModel in '" + path +
          "': it holds neither saved_model.pb nor saved_model.pbtxt, nor numbered "
          "versions that do");
}

}  // namespace savedmodel
