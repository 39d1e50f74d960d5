#include "inspect/meta_graph.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <unordered_map>

#include "core/nearest.h"
#include "core/status.h"
#include "core/tensor_access.h"
#include "inspect/chunked_proto.h"
#include "inspect/saved_model_dir.h"
#include "tensorflow/cc/saved_model/constants.h"
#include "tensorflow/cc/saved_model/loader_util.h"
#include "tensorflow/cc/saved_model/reader.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/protobuf/fingerprint.pb.h"
#include "tensorflow/core/protobuf/saved_model.pb.h"

namespace savedmodel {

namespace {

namespace fs = std::filesystem;
namespace tf = tensorflow;

using TagSet = std::set<std::string>;

std::string Braced(const TagSet& tags) {
  std::string text;
  for (const std::string& tag : tags)
    text += (text.empty() ? "" : ", ") + ("'" + tag + "'");
  return "{" + text + "}";
}

std::string Braced(const std::vector<TagSet>& tag_sets) {
  std::string text;
  for (const TagSet& tags : tag_sets) text += (text.empty() ? "" : ", ") + Braced(tags);
  return text;
}

int ChooseMetaGraph(const std::vector<TagSet>& there, const std::string& export_dir,
                    const std::optional<std::vector<std::string>>& tags) {
  const TagSet wanted = tags ? TagSet(tags->begin(), tags->end()) : TagSet{"serve"};
  const auto found = std::find(there.begin(), there.end(), wanted);
  if (found != there.end()) return static_cast<int>(found - there.begin());
  if (!tags && there.size() == 1) return 0;
  if (!tags) {
    throw Error(ErrorCode::kInvalidArgument,
                "model '" + export_dir +
                    "' has several MetaGraphs, none with the tag set "
                    "{'serve'}; give the tags of one: " +
                    Braced(there));
  }
  throw Error(ErrorCode::kNotFound, "model '" + export_dir +
                                        "' has no MetaGraph with the tag "
                                        "set " +
                                        Braced(wanted) +
                                        "; tag sets there: " + Braced(there));
}

// TensorFlow's own validation builds the shape of each constant without a check of its
// size, which aborts the process for one that overflows.
void CheckShape(const tf::TensorProto& tensor, const std::string& where) {
  tf::TensorShape shape;
  ThrowIfError(tf::TensorShape::BuildTensorShape(tensor.tensor_shape(), &shape), where);
}

// What TensorFlow's validation or its optimizers would abort the process on.
template <typename Nodes>
void CheckNodes(const Nodes& nodes, const std::string& context) {
  for (const tf::NodeDef& node : nodes) {
    const auto branches = node.attr().find("branches");
    if ((node.op() == "Case" || node.op() == "StatelessCase") &&
        (branches == node.attr().end() || branches->second.list().func_size() == 0)) {
      throw Error(ErrorCode::kInvalidArgument,
                  context + ", node '" + node.name() + "': a Case without branches");
    }
    if (node.op() == "Const" && node.attr().count("value") == 0) {
      throw Error(ErrorCode::kInvalidArgument,
                  context + ", node '" + node.name() + "': a constant without a value");
    }
    // The kernels' own parsing of it is a CHECK.
    const auto padding = node.attr().find("padding");
    if (padding != node.attr().end() && !padding->second.s().empty() &&
        (node.op().find("Conv") != std::string::npos ||
         node.op().find("Pool") != std::string::npos) &&
        padding->second.s() != "SAME" && padding->second.s() != "VALID" &&
        padding->second.s() != "EXPLICIT") {
      throw Error(ErrorCode::kInvalidArgument,
                  context + ", node '" + node.name() + "': padding '" +
                      padding->second.s() + "', expected 'SAME', 'VALID' or 'EXPLICIT'");
    }
    for (const auto& [name, value] : node.attr()) {
      if (!value.has_tensor() && value.list().tensor_size() == 0) continue;
      const std::string where =
          context + ", node '" + node.name() + "', attribute '" + name + "'";
      if (value.has_tensor()) CheckShape(value.tensor(), where);
      for (const tf::TensorProto& tensor : value.list().tensor())
        CheckShape(tensor, where);
    }
  }
}

// TensorFlow follows calls by recursion, and a function that calls itself, or calls that
// are nested too deep, end the process.
void CheckCalls(const tf::FunctionDefLibrary& library, const std::string& context) {
  constexpr int kMaxDepth = 256;
  std::unordered_map<std::string_view, const tf::FunctionDef*> functions;
  for (const tf::FunctionDef& function : library.function()) {
    functions.emplace(function.signature().name(), &function);
  }
  // How deep the calls below a function go; kOpen while they are being followed.
  constexpr int kOpen = -1;
  std::unordered_map<std::string_view, int> depths;
  std::vector<const tf::FunctionDef*> stack;
  for (const tf::FunctionDef& root : library.function()) {
    stack.push_back(&root);
    while (!stack.empty()) {
      const tf::FunctionDef& function = *stack.back();
      const auto [known, first] = depths.emplace(function.signature().name(), kOpen);
      if (known->second != kOpen) {  // two functions call it
        stack.pop_back();
        continue;
      }
      int depth = 0;
      const std::size_t size = stack.size();
      for (const tf::NodeDef& node : function.node_def()) {
        ForEachCallee(node, [&](const std::string& callee) {
          const auto called = functions.find(callee);
          if (called == functions.end()) return;
          const auto below = depths.find(callee);
          if (below == depths.end()) {
            stack.push_back(called->second);
          } else if (below->second == kOpen) {
            throw Error(ErrorCode::kInvalidArgument,
                        context + ": function '" + callee + "' calls itself");
          } else {
            depth = std::max(depth, below->second + 1);
          }
        });
      }
      if (stack.size() > size) continue;  // those first
      if (depth > kMaxDepth) {
        throw Error(ErrorCode::kInvalidArgument, context + ": the calls of function '" +
                                                     function.signature().name() +
                                                     "' are nested too deep");
      }
      known->second = depth;
      stack.pop_back();
    }
  }
}

void CheckNodes(const tf::MetaGraphDef& meta_graph, const std::string& context) {
  CheckNodes(meta_graph.graph_def().node(), context);
  for (const tf::FunctionDef& function : meta_graph.graph_def().library().function()) {
    CheckNodes(function.node_def(),
               context + ", function '" + function.signature().name() + "'");
  }
}

// The parser of the text form follows messages inside messages by recursion, as deep as
// they go. The binary form's parser has this limit itself.
void CheckTextNesting(const std::string& file, const std::string& context) {
  constexpr int kMaxDepth = 100;
  std::ifstream text(file, std::ios::binary);
  int depth = 0;
  char quote = 0;  // of the string that goes on here
  for (std::istreambuf_iterator<char> it(text), end; it != end; ++it) {
    const char c = *it;
    if (quote != 0) {
      if (c == '\\' && ++it == end) break;
      if (c == quote || c == '\n') quote = 0;
    } else if (c == '#') {  // a comment
      while (it != end && *it != '\n') ++it;
      if (it == end) break;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '{' || c == '<') {
      if (++depth > kMaxDepth) {
        throw Error(ErrorCode::kDataLoss,
                    context + ": its saved_model.pbtxt nests messages too deep");
      }
    } else if (c == '}' || c == '>') {
      --depth;
    }
  }
}

// Calls `add` with the name and spec of the tensor, or of each component of a composite
// one.
template <typename Add>
void ForEachTensor(const std::string& name, const tf::TensorInfo& info,
                   const std::string& context, const Add& add) {
  const auto spec = [&](const std::string& component, const std::string& tensor_name,
                        int dtype, PartialShape shape) {
    // TF1 graphs list reference variables as outputs; what is fetched is their value.
    const auto base = static_cast<DataType>(dtype > 100 ? dtype - 100 : dtype);
    if (!IsValid(base)) {
      throw Error(ErrorCode::kInvalidArgument,
                  context + " '" + component + "' has dtype " + std::to_string(dtype) +
                      ", which is none of TensorFlow's");
    }
    add(component, TensorSpec{tensor_name, base, std::move(shape)});
  };
  const std::string named = context + " '" + name + "'";
  switch (info.encoding_case()) {
    case tf::TensorInfo::kCooSparse: {
      // The names and shapes that load_v1_in_v2.py of TensorFlow gives the components.
      const auto& coo = info.coo_sparse();
      const PartialShape dense = ToPartialShape(info.tensor_shape(), named);
      const std::int64_t rank = dense.unknown_rank()
                                    ? PartialShape::kUnknownDim
                                    : static_cast<std::int64_t>(dense.dims().size());
      spec(name + "_indices", coo.indices_tensor_name(), tf::DT_INT64,
           PartialShape({PartialShape::kUnknownDim, rank}));
      spec(name + "_values", coo.values_tensor_name(), info.dtype(),
           PartialShape({PartialShape::kUnknownDim}));
      spec(name + "_dense_shape", coo.dense_shape_tensor_name(), tf::DT_INT64,
           PartialShape({rank}));
      break;
    }
    case tf::TensorInfo::kCompositeTensor: {
      int index = 0;
      for (const tf::TensorInfo& component : info.composite_tensor().components()) {
        ForEachTensor(name + "_component_" + std::to_string(index++), component, context,
                      add);
      }
      break;
    }
    default:
      spec(name, info.name(), info.dtype(), ToPartialShape(info.tensor_shape(), named));
  }
}

}  // namespace

PartialShape ToPartialShape(const tf::TensorShapeProto& proto,
                            const std::string& context) {
  if (proto.unknown_rank()) return PartialShape();
  Shape dims;
  for (const auto& dim : proto.dim()) {
    if (dim.size() < PartialShape::kUnknownDim) {
      throw Error(ErrorCode::kInvalidArgument,
                  context + " has a dimension of size " + std::to_string(dim.size()));
    }
    dims.push_back(dim.size());
  }
  return PartialShape(std::move(dims));
}

void ReadSavedModelProto(const std::string& export_dir, tf::SavedModel* saved_model) {
  const std::string context = "model '" + export_dir + "'";
  const std::string format = SavedModelFormat(export_dir);
  const std::string prefix =
      (fs::path(export_dir) / tf::kSavedModelFilenamePrefix).string();
  if (format == "cpb") {
    ReadChunkedProto(prefix, context, saved_model);
    return;
  }
  if (format == "pbtxt") CheckTextNesting(prefix + ".pbtxt", context);
  ThrowIfUnreadable(tf::ReadSavedModel(export_dir, saved_model), context);
}

tf::MetaGraphDef ReadMetaGraph(const std::string& export_dir,
                               const std::optional<std::vector<std::string>>& tags) {
  const std::string context = "model '" + export_dir + "'";
  tf::SavedModel saved_model;
  ReadSavedModelProto(export_dir, &saved_model);
  std::vector<TagSet> there;
  for (const tf::MetaGraphDef& meta_graph : saved_model.meta_graphs()) {
    const auto& names = meta_graph.meta_info_def().tags();
    there.emplace_back(names.begin(), names.end());
  }
  if (there.empty()) {
    throw Error(ErrorCode::kDataLoss,
                context + ": its saved_model file holds no MetaGraph");
  }
  tf::MetaGraphDef chosen;
  chosen.Swap(saved_model.mutable_meta_graphs(ChooseMetaGraph(there, export_dir, tags)));
  CheckNodes(chosen, context);
  CheckCalls(chosen.graph_def().library(), context);
  return chosen;
}

std::map<std::string, SignatureDef> ReadSignatures(const std::string& export_dir,
                                                   const tf::MetaGraphDef& meta_graph) {
  std::map<std::string, SignatureDef> signatures;
  for (const auto& [name, proto] : meta_graph.signature_def()) {
    if (name == tf::kSavedModelInitOpSignatureKey ||
        name == tf::kSavedModelTrainOpSignatureKey) {
      continue;
    }
    const std::string context = "model '" + export_dir + "', signature '" + name + "'";
    SignatureDef& signature = signatures[name];
    signature.method_name = proto.method_name();
    for (const auto& [input, info] : proto.inputs()) {
      ForEachTensor(input, info, context + ", input",
                    [&signature](const std::string& component, TensorSpec spec) {
                      signature.inputs[component] = std::move(spec);
                    });
    }
    for (const auto& [output, info] : proto.outputs()) {
      ForEachTensor(output, info, context + ", output",
                    [&signature](const std::string& component, TensorSpec spec) {
                      signature.outputs[component] = std::move(spec);
                    });
    }
    for (const auto& [input, value] : proto.defaults()) {
      CheckShape(value, context + ", the default value of input '" + input + "'");
      tf::Tensor tensor;
      if (signature.inputs.count(input) == 0 || !tensor.FromProto(value)) {
        throw Error(ErrorCode::kDataLoss, context + ": the default value of input '" +
                                              input + "' cannot be read");
      }
      const TensorSpec& spec = signature.inputs[input];
      Tensor wrapped = TensorAccess::Wrap(std::move(tensor));
      if (wrapped.dtype() != spec.dtype ||
          !spec.shape.IsCompatibleWith(wrapped.shape())) {
        throw Error(ErrorCode::kDataLoss,
                    context + ", input '" + input + "': expected " + spec.ToString() +
                        ", its default value is " + wrapped.ToString());
      }
      signature.defaults[input] = std::move(wrapped);
    }
  }
  return signatures;
}

std::optional<Fingerprint> ReadFingerprint(const std::string& export_dir) {
  const std::string path = (fs::path(export_dir) / tf::kFingerprintFilenamePb).string();
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return std::nullopt;
  tf::FingerprintDef proto;
  ThrowIfUnreadable(tf::ReadBinaryProto(tf::Env::Default(), path, &proto),
                    "model '" + export_dir + "'");
  Fingerprint fingerprint;
  fingerprint.saved_model_checksum = proto.saved_model_checksum();
  fingerprint.graph_def_program_hash = proto.graph_def_program_hash();
  fingerprint.signature_def_hash = proto.signature_def_hash();
  fingerprint.saved_object_graph_hash = proto.saved_object_graph_hash();
  fingerprint.checkpoint_hash = proto.checkpoint_hash();
  fingerprint.version_producer = proto.version().producer();
  fingerprint.uuid = proto.uuid();
  return fingerprint;
}

std::vector<Asset> ReadAssets(const std::string& export_dir,
                              const tf::MetaGraphDef& meta_graph) {
  const std::string context = "model '" + export_dir + "', assets";
  std::vector<tf::AssetFileDef> definitions;
  ThrowIfError(tf::internal::GetAssetFileDefs(meta_graph, &definitions), context);
  const fs::path folder = fs::path(export_dir) / tf::kSavedModelAssetsDirectory;
  // By tensor: TF1's builder can list an asset twice, and no tensor may be fed twice.
  std::map<std::string, Asset> assets;
  for (const tf::AssetFileDef& definition : definitions) {
    const fs::path file = definition.filename();
    if (file.is_absolute() || std::find(file.begin(), file.end(), "..") != file.end()) {
      throw Error(ErrorCode::kInvalidArgument,
                  context + ": '" + definition.filename() + "' leaves the assets folder");
    }
    const std::string& tensor = definition.tensor_info().name();
    assets[tensor] = {definition.filename(), (folder / file).string(), tensor};
  }
  std::vector<Asset> listed;
  for (auto& [tensor, asset] : assets) listed.push_back(std::move(asset));
  return listed;
}

std::string AssetPath(const std::string& export_dir, const tf::MetaGraphDef& meta_graph,
                      int index) {
  return fs::absolute(fs::path(export_dir) / tf::kSavedModelAssetsDirectory /
                      meta_graph.asset_file_def(index).filename())
      .string();
}

std::vector<std::string> ReadExtraAssets(const std::string& export_dir) {
  std::vector<std::string> paths;
  std::error_code error;
  const fs::path folder =
      fs::absolute(fs::path(export_dir) / tf::kSavedModelAssetsExtraDirectory);
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (it->is_regular_file(error)) paths.push_back(it->path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace savedmodel
