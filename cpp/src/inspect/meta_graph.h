#ifndef SAVEDMODEL_INSPECT_META_GRAPH_H_
#define SAVEDMODEL_INSPECT_META_GRAPH_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "savedmodel/saved_model.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tensorflow/core/protobuf/saved_model.pb.h"

namespace savedmodel {

// Reads saved_model.pb, .pbtxt or .cpb. Throws NotFound or DataLoss. Nothing in it has
// been checked.
void ReadSavedModelProto(const std::string& export_dir,
                         tensorflow::SavedModel* saved_model);

// Reads the saved_model file and takes the MetaGraph with exactly these tags;
// without tags, LoadOptions::tags says which. Throws NotFound or DataLoss.
tensorflow::MetaGraphDef ReadMetaGraph(
    const std::string& export_dir, const std::optional<std::vector<std::string>>& tags);

// Signatures without the loader's own init op. Throws InvalidArgument for dtypes and
// shapes that are none.
std::map<std::string, SignatureDef> ReadSignatures(
    const std::string& export_dir, const tensorflow::MetaGraphDef& meta_graph);

std::optional<Fingerprint> ReadFingerprint(const std::string& export_dir);

// A file of the assets folder and the tensor that is fed its path while loading.
struct Asset {
  std::string name;
  std::string path;
  std::string tensor;
};
// Throws InvalidArgument for a file name that leaves the folder.
std::vector<Asset> ReadAssets(const std::string& export_dir,
                              const tensorflow::MetaGraphDef& meta_graph);
// The absolute path of the asset with this index in asset_file_def.
std::string AssetPath(const std::string& export_dir,
                      const tensorflow::MetaGraphDef& meta_graph, int index);
// Paths of the files under assets.extra/, sorted.
std::vector<std::string> ReadExtraAssets(const std::string& export_dir);

// A static shape; throws InvalidArgument, after `context`, for one with sizes below -1.
PartialShape ToPartialShape(const tensorflow::TensorShapeProto& proto,
                            const std::string& context);

// Calls visit(node, function) for each node of the graph, where function is null, and of
// its functions.
template <typename Visit>
void ForEachNode(const tensorflow::GraphDef& graph, const Visit& visit) {
  for (const tensorflow::NodeDef& node : graph.node()) visit(node, nullptr);
  for (const tensorflow::FunctionDef& function : graph.library().function()) {
    for (const tensorflow::NodeDef& node : function.node_def()) visit(node, &function);
  }
}

// Calls visit(name) for what may be a function that the node calls: its op, and the
// functions that its attributes name.
template <typename Visit>
void ForEachCallee(const tensorflow::NodeDef& node, const Visit& visit) {
  visit(node.op());
  for (const auto& [name, value] : node.attr()) {
    if (value.has_func()) visit(value.func().name());
    for (const tensorflow::NameAttrList& listed : value.list().func())
      visit(listed.name());
  }
}

}  // namespace savedmodel

#endif  // SAVEDMODEL_INSPECT_META_GRAPH_H_
