#include "load/save.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <vector>

#include "core/status.h"
#include "inspect/checkpoint.h"
#include "inspect/saved_model_dir.h"
#include "savedmodel/error.h"
#include "savedmodel/saved_model.h"
#include "tensorflow/cc/saved_model/constants.h"
#include "tensorflow/core/framework/tensor_slice.h"
#include "tensorflow/core/util/saved_tensor_slice_util.h"
#include "tensorflow/core/util/tensor_bundle/tensor_bundle.h"

namespace savedmodel {

namespace {

namespace fs = std::filesystem;
namespace tf = tensorflow;

[[noreturn]] void FailSystem(const std::string& doing, std::error_code error) {
  ErrorCode code = ErrorCode::kUnknown;
  if (error == std::errc::no_space_on_device || error == std::errc::file_too_large)
    code = ErrorCode::kResourceExhausted;
  if (error == std::errc::permission_denied || error == std::errc::read_only_file_system)
    code = ErrorCode::kPermissionDenied;
  if (error == std::errc::no_such_file_or_directory) code = ErrorCode::kNotFound;
  if (error == std::errc::file_exists) code = ErrorCode::kAlreadyExists;
  if (error == std::errc::invalid_argument || error == std::errc::not_a_directory)
    code = ErrorCode::kInvalidArgument;
  throw Error(code, doing + ": " + error.message());
}

std::error_code LastError() { return {errno, std::generic_category()}; }

// A new directory beside `target`, removed again unless it was moved to its place.
class Staging {
 public:
  explicit Staging(const fs::path& target) {
    std::random_device random;
    const std::string stem = "." + target.filename().string().substr(0, 200) + ".saving-";
    for (bool made = false; !made;) {
      path_ = target.parent_path() / (stem + std::to_string(random()));
      std::error_code error;
      made = fs::create_directory(path_, error);
      if (error)
        FailSystem("cannot create a directory beside '" + target.string() + "'", error);
    }
  }
  ~Staging() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  const fs::path& path() const { return path_; }

  // Puts it in the target's place in one step, and what was there in its own, to be
  // removed.
  void Replace(const fs::path& target) {
    Sync(path_);
    const std::string doing =
        "cannot put the saved model in place at '" + target.string() + "'";
    std::error_code ignored;
    const unsigned flags =
        fs::exists(target, ignored) ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    if (renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target.c_str(), flags) != 0) {
      const std::error_code error = LastError();
      // Not every file system can exchange two directories.
      if (error != std::errc::invalid_argument &&
          error != std::errc::function_not_supported) {
        FailSystem(doing, error);
      }
      ReplaceInTwoSteps(target, doing);
    }
    SyncOne(target.parent_path());
  }

 private:
  // For a moment nothing is there; what was there comes back if the second step fails.
  void ReplaceInTwoSteps(const fs::path& target, const std::string& doing) {
    const fs::path old = path_.string() + ".old";
    std::error_code error;
    const bool replaces = fs::exists(target, error);
    if (replaces) fs::rename(target, old, error);
    if (error) FailSystem(doing, error);
    fs::rename(path_, target, error);
    std::error_code ignored;
    if (error) {
      if (replaces) fs::rename(old, target, ignored);
      FailSystem(doing, error);
    }
    fs::remove_all(old, ignored);
  }
  // What is not on the disk when the machine stops must not have taken the old one's
  // place.
  static void Sync(const fs::path& directory) {
    for (const auto& entry : fs::recursive_directory_iterator(directory))
      SyncOne(entry.path());
    SyncOne(directory);
  }
  static void SyncOne(const fs::path& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) FailSystem("cannot open '" + path.string() + "'", LastError());
    const int result = fsync(file);
    const std::error_code error = LastError();
    close(file);
    // Some file systems know no fsync of directories.
    if (result != 0 && error != std::errc::invalid_argument)
      FailSystem("cannot write '" + path.string() + "'", error);
  }

  fs::path path_;
};

// True for what a SavedModel consists of.
bool IsOfSavedModel(const std::string& name) {
  return name.rfind(tf::kSavedModelFilenamePrefix, 0) == 0 ||
         name == tf::kFingerprintFilenamePb || name == "keras_metadata.pb" ||
         name == tf::kSavedModelVariablesDirectory ||
         name == tf::kSavedModelAssetsDirectory ||
         name == tf::kSavedModelAssetsExtraDirectory ||
         name == tf::kSavedModelDebugDirectory;
}

// All but the variables; `everything`: also what is of no SavedModel.
void CopyRest(const fs::path& from, const fs::path& to, bool everything) {
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    if (name == tf::kSavedModelVariablesDirectory) continue;
    if (everything || IsOfSavedModel(name)) CopyPart(name, from, to);
  }
}

// What the variables and tables hold now, where that may differ from the checkpoint.
std::map<CheckpointTensor, tf::Tensor> CurrentValues(const LoadedBundle& bundle,
                                                     ModelGraph* graph) {
  std::map<CheckpointTensor, tf::Tensor> values;
  const tf::SavedObjectGraph& objects = bundle.meta_graph_def.object_graph_def();
  const ObjectBindings& bindings = graph->bindings();
  std::map<std::string, std::string> done;  // key -> node
  for (int i = 0; i < objects.nodes_size(); ++i) {
    const auto index = static_cast<std::size_t>(i);
    const std::string* key = bindings.VariableKey(i);
    if (!objects.nodes(i).has_variable() || key == nullptr) continue;
    const std::string node(NodeOf(bindings.tensors[index]));
    if (!graph->IsFilled(node)) continue;
    values.insert_or_assign({*key, ""}, graph->ReadVariable(node));
    done.emplace(*key, node);
  }
  for (const auto& [node, tensors] : graph->plan().tensors) {
    if (done.count(tensors.front().key) != 0 || !graph->IsFilled(node)) continue;
    if (tensors.size() == 1) {
      values.insert_or_assign(tensors.front(), graph->ReadVariable(node));
      continue;
    }
    std::vector<tf::Tensor> table = graph->ExportTable(node);
    for (std::size_t i = 0; i < tensors.size() && i < table.size(); ++i)
      values.insert_or_assign(tensors[i], table[i]);
  }
  return values;
}

void WriteVariables(const std::string& prefix, const Checkpoint& checkpoint,
                    const std::map<CheckpointTensor, tf::Tensor>& values) {
  const std::string context = "cannot write '" + prefix + "'";
  tf::BundleWriter writer(tf::Env::Default(), prefix);
  ThrowIfError(writer.status(), context);
  for (const auto& [key, entry] : checkpoint.entries()) {
    const auto whole = values.find({key, ""});
    if (whole != values.end()) {
      ThrowIfError(writer.Add(key, whole->second), context);
      continue;
    }
    if (entry.slices_size() == 0) {
      ThrowIfError(writer.Add(key, checkpoint.Read({{key, ""}}).front()), context);
      continue;
    }
    // A partitioned variable: slice by slice.
    const tf::TensorShape shape(entry.shape());
    for (const tf::TensorSliceProto& proto : entry.slices()) {
      const tf::TensorSlice slice(proto);
      std::string shape_and_slice;
      for (int i = 0; i < shape.dims(); ++i)
        shape_and_slice += std::to_string(shape.dim_size(i)) + " ";
      const CheckpointTensor wanted{key, shape_and_slice + slice.DebugString()};
      const auto current = std::find_if(
          values.lower_bound({key, ""}), values.end(), [&](const auto& value) {
            tf::TensorShape full;
            tf::TensorSlice its;
            tf::TensorShape sliced;
            return value.first.key == key &&
                   tf::checkpoint::ParseShapeAndSlice(value.first.shape_and_slice, &full,
                                                      &its, &sliced)
                       .ok() &&
                   its == slice;
          });
      ThrowIfError(
          writer.AddSlice(key, shape, slice,
                          current != values.end() ? current->second
                                                  : checkpoint.Read({wanted}).front()),
          context);
    }
  }
  ThrowIfError(writer.Finish(), context);
}

// Throws unless `target` is free, an empty directory or a SavedModel and nothing else.
void CheckTarget(const fs::path& target) {
  std::error_code error;
  const fs::file_status status = fs::status(target, error);
  if (!fs::exists(status)) return;
  const std::string failed = "cannot save to '" + target.string() + "': ";
  if (!fs::is_directory(status) ||
      !(ContainsSavedModel(target.string()) || fs::is_empty(target, error))) {
    throw Error(ErrorCode::kAlreadyExists,
                failed + "it is neither a SavedModel nor an empty directory");
  }
  for (const auto& entry : fs::directory_iterator(target)) {
    const std::string name = entry.path().filename().string();
    if (IsOfSavedModel(name)) continue;
    throw Error(ErrorCode::kAlreadyExists, failed + "beside the SavedModel there is '" +
                                               name + "', which would be lost");
  }
}

}  // namespace

void CopyPart(const std::string& name, const fs::path& from, const fs::path& to) {
  std::error_code error;
  if (!fs::exists(from / name, error)) return;
  fs::copy(from / name, to / name, fs::copy_options::recursive, error);
  if (error) FailSystem("cannot copy '" + (from / name).string() + "'", error);
}

void SaveDirectory(const BundleHandle& handle, const std::string& path,
                   const FillDirectory& fill) {
  try {
    fs::path target = fs::absolute(LocalPath(path)).lexically_normal();
    if (!target.has_filename()) target = target.parent_path();  // "models/saved/"
    std::error_code ignored;
    if (fs::is_symlink(target, ignored)) target = fs::canonical(target);
    const bool over_itself = fs::equivalent(target, handle.export_dir(), ignored);
    if (!over_itself) CheckTarget(target);
    fs::create_directories(target.parent_path());
    Staging staging(target);
    fill(staging.path(), over_itself);
    if (!over_itself) CheckTarget(target);  // again: writing takes its time
    staging.Replace(target);
  } catch (const fs::filesystem_error& error) {
    FailSystem("model '" + handle.export_dir() + "', saving to '" + path + "'",
               error.code());
  } catch (const Error& error) {
    throw Error(error.code(), "model '" + handle.export_dir() + "', saving to '" + path +
                                  "': " + error.what());
  }
}

void SaveModel(const BundleHandle& handle, const std::string& path) {
  const auto bundle = handle.Acquire();
  bool replaced_checkpoint = false;
  SaveDirectory(handle, path, [&](const fs::path& directory, bool over_itself) {
    CopyRest(handle.export_dir(), directory, over_itself);
    const std::shared_ptr<const Checkpoint> checkpoint = bundle->graph->checkpoint();
    if (checkpoint == nullptr) return;
    const std::string prefix = VariablesPrefix(directory.string());
    fs::create_directories(fs::path(prefix).parent_path());
    WriteVariables(prefix, *checkpoint, CurrentValues(*bundle, &*bundle->graph));
    replaced_checkpoint = over_itself;
  });
  if (replaced_checkpoint) bundle->graph->ReopenCheckpoint();
}

}  // namespace savedmodel
