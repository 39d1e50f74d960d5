// Forward declarations of the public types.
#ifndef SAVEDMODEL_TYPE_FWD_H_
#define SAVEDMODEL_TYPE_FWD_H_

namespace savedmodel {

class BoundCall;
class Callable;
class Error;
class Model;
class OptionValue;
class PartialShape;
class ProtoMessage;
class RunMetadata;
class RunOptions;
class SavedModelBundle;
class Session;
class SessionOptions;
class Signature;
class Tensor;
enum class DataType : int;
enum class ErrorCode : int;
struct LoadOptions;
struct TensorSpec;

}  // namespace savedmodel

#endif  // SAVEDMODEL_TYPE_FWD_H_
