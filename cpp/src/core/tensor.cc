#include "savedmodel/tensor.h"

#include "core/status.h"
#include "core/tensor_access.h"
#include "tensorflow/core/common_runtime/dma_helper.h"
#include "tensorflow/core/framework/allocation_description.pb.h"
#include "tensorflow/core/framework/types.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

static_assert(sizeof(Tensor) == sizeof(tf::Tensor) &&
                  alignof(Tensor) >= alignof(tf::Tensor),
              "Tensor::storage_ must hold a tensorflow::Tensor");

bool IsPlain(DataType dtype) { return DataTypeSize(dtype) != 0; }

// The caller's memory. OwnsMemory() is false, which is what keeps kernels from writing
// their result into it.
class ViewBuffer final : public tf::TensorBuffer {
 public:
  ViewBuffer(const void* data, std::size_t size, std::shared_ptr<const void> owner)
      : TensorBuffer(const_cast<void*>(data)), size_(size), owner_(std::move(owner)) {}

  std::size_t size() const override { return size_; }
  TensorBuffer* root_buffer() override { return this; }
  bool OwnsMemory() const override { return false; }
  void FillAllocationDescription(tf::AllocationDescription* proto) const override {
    proto->set_requested_bytes(static_cast<std::int64_t>(size_));
    proto->set_allocator_name("savedmodel view");
  }

 private:
  std::size_t size_;
  std::shared_ptr<const void> owner_;
};

// Null for a tensor without elements.
tf::TensorBuffer* Buffer(const Tensor& tensor) {
  // Only the mutable overload gives a buffer whose root can be asked for.
  return tf::DMAHelper::buffer(&const_cast<tf::Tensor&>(TensorAccess::Get(tensor)));
}

tf::TensorShape CheckedShape(DataType dtype, const Shape& shape) {
  tf::TensorShape checked;
  const absl::Status status = tf::TensorShape::BuildTensorShape(shape, &checked);
  // The message costs more than the check, and every call comes here.
  if (!status.ok()) ThrowIfError(status, "tensor of shape " + ToString(shape));
  const auto size = static_cast<std::int64_t>(DataTypeSize(dtype));
  if (size > 1 &&
      checked.num_elements() > std::numeric_limits<std::int64_t>::max() / size) {
    throw Error(ErrorCode::kInvalidArgument,
                "tensor of shape " + ToString(shape) + " is too large for memory");
  }
  return checked;
}

}  // namespace

Tensor::Tensor() noexcept { new (storage_) tf::Tensor(); }

Tensor::Tensor(DataType dtype, const Shape& shape) : Tensor() {
  if (!IsPlain(dtype) && dtype != DataType::kString) {
    throw Error(ErrorCode::kInvalidArgument,
                "cannot make a tensor of dtype " + std::string(DataTypeName(dtype)));
  }
  tf::Tensor& tensor = TensorAccess::Get(*this);
  // Otherwise TensorFlow asks again for ten seconds before it gives up.
  tf::AllocationAttributes attributes;
  attributes.retry_on_failure = false;
  tensor = tf::Tensor(tf::cpu_allocator(), static_cast<tf::DataType>(dtype),
                      CheckedShape(dtype, shape), attributes);
  if (!tensor.IsInitialized()) {
    throw Error(ErrorCode::kResourceExhausted,
                "no memory for " + std::string(DataTypeName(dtype)) + " with shape " +
                    savedmodel::ToString(shape));
  }
}

Tensor::Tensor(const Tensor& other) {
  new (storage_) tf::Tensor(TensorAccess::Get(other));
}

Tensor::Tensor(Tensor&& other) noexcept {
  new (storage_) tf::Tensor(std::move(TensorAccess::Get(other)));
}

Tensor& Tensor::operator=(const Tensor& other) {
  TensorAccess::Get(*this) = TensorAccess::Get(other);
  return *this;
}

Tensor& Tensor::operator=(Tensor&& other) noexcept {
  TensorAccess::Get(*this) = std::move(TensorAccess::Get(other));
  return *this;
}

Tensor::~Tensor() { TensorAccess::Get(*this).~Tensor(); }

Tensor Tensor::View(DataType dtype, const Shape& shape, const void* data,
                    std::shared_ptr<const void> owner) {
  if (!IsPlain(dtype)) {
    throw Error(ErrorCode::kInvalidArgument,
                "cannot view memory as dtype " + std::string(DataTypeName(dtype)));
  }
  const tf::TensorShape checked = CheckedShape(dtype, shape);
  if (checked.num_elements() == 0) return Tensor(dtype, shape);
  if (data == nullptr || reinterpret_cast<std::uintptr_t>(data) % kTensorAlignment != 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "a view needs memory aligned to " + std::to_string(kTensorAlignment) +
                    " bytes; use Tensor::Copy, or a Tensor's own memory");
  }
  tsl::core::RefCountPtr<tf::TensorBuffer> buffer(new ViewBuffer(
      data, static_cast<std::size_t>(checked.num_elements()) * DataTypeSize(dtype),
      std::move(owner)));
  return TensorAccess::Wrap(
      tf::Tensor(static_cast<tf::DataType>(dtype), checked, std::move(buffer)));
}

Tensor Tensor::Strings(const std::vector<std::string_view>& values, const Shape& shape) {
  Tensor tensor(DataType::kString, shape);
  if (tensor.num_elements() != static_cast<std::int64_t>(values.size())) {
    throw Error(ErrorCode::kInvalidArgument, std::to_string(values.size()) +
                                                 " strings for shape " +
                                                 savedmodel::ToString(shape));
  }
  auto elements = TensorAccess::Get(tensor).flat<tf::tstring>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    elements(static_cast<Eigen::Index>(i)).assign(values[i].data(), values[i].size());
  }
  return tensor;
}

DataType Tensor::dtype() const {
  return static_cast<DataType>(TensorAccess::Get(*this).dtype());
}

int Tensor::rank() const { return TensorAccess::Get(*this).dims(); }

std::int64_t Tensor::dim(int axis) const {
  if (axis < 0 || axis >= rank()) {
    throw Error(ErrorCode::kOutOfRange,
                "axis " + std::to_string(axis) + " of " + ToString());
  }
  return TensorAccess::Get(*this).dim_size(axis);
}

Shape Tensor::shape() const {
  const auto dims = TensorAccess::Get(*this).shape().dim_sizes();
  return Shape(dims.begin(), dims.end());
}

std::int64_t Tensor::num_elements() const {
  return TensorAccess::Get(*this).NumElements();
}

std::size_t Tensor::num_bytes() const { return TensorAccess::Get(*this).TotalBytes(); }

const void* Tensor::data() const {
  if (!IsPlain(dtype())) {
    throw Error(
        ErrorCode::kInvalidArgument,
        "a tensor of dtype " + std::string(DataTypeName(dtype())) + " has no plain data");
  }
  return TensorAccess::Get(*this).data();
}

void* Tensor::mutable_data() {
  if (num_elements() != 0 && !IsExclusive()) {
    throw Error(ErrorCode::kFailedPrecondition,
                "the tensor's memory is shared or not its own; Clone() it to write");
  }
  return const_cast<void*>(data());
}

void Tensor::CheckType(DataType asked) const {
  if (asked != dtype()) {
    throw Error(ErrorCode::kInvalidArgument,
                std::string("asked for ") + DataTypeName(asked) +
                    " of a tensor of dtype " + DataTypeName(dtype()));
  }
}

bool Tensor::IsExclusive() const {
  tf::TensorBuffer* buffer = Buffer(*this);
  // A slice's buffer is its own and says that it owns its memory; its root knows.
  return buffer != nullptr && buffer->root_buffer()->OwnsMemory() &&
         buffer->RefCountIsOne() && buffer->root_buffer()->RefCountIsOne();
}

std::string_view Tensor::string_at(std::int64_t index) const {
  CheckType(DataType::kString);
  if (index < 0 || index >= num_elements()) {
    throw Error(ErrorCode::kOutOfRange,
                "element " + std::to_string(index) + " of " + ToString());
  }
  return TensorAccess::Get(*this).flat<tf::tstring>()(index);
}

void Tensor::set_string(std::int64_t index, std::string_view value) {
  string_at(index);  // checks the dtype and the index
  if (!IsExclusive()) {
    throw Error(ErrorCode::kFailedPrecondition,
                "the tensor's memory is shared; Clone() it to write");
  }
  TensorAccess::Get(*this).flat<tf::tstring>()(index).assign(value.data(), value.size());
}

Tensor Tensor::Clone() const {
  Tensor copy(dtype(), shape());
  if (dtype() == DataType::kString) {
    TensorAccess::Get(copy).flat<tf::tstring>() =
        TensorAccess::Get(*this).flat<tf::tstring>();
  } else if (num_bytes() != 0) {
    std::memcpy(copy.mutable_data(), data(), num_bytes());
  }
  return copy;
}

std::string Tensor::ToString() const {
  return std::string(DataTypeName(dtype())) + " with shape " +
         savedmodel::ToString(shape());
}

bool IsView(const Tensor& tensor) {
  tf::TensorBuffer* buffer = Buffer(tensor);
  return buffer != nullptr && !buffer->root_buffer()->OwnsMemory();
}

}  // namespace savedmodel
