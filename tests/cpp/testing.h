// Helpers of the tests.
#ifndef SAVEDMODEL_TESTS_CPP_TESTING_H_
#define SAVEDMODEL_TESTS_CPP_TESTING_H_

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "savedmodel/savedmodel.h"

namespace savedmodel::testing {

// Passes if `run` throws an Error of that code whose message holds each of `parts`.
template <typename Run>
::testing::AssertionResult Throws(ErrorCode code,
                                  std::initializer_list<std::string> parts, Run&& run) {
  try {
    run();
  } catch (const Error& error) {
    const std::string message = error.what();
    if (error.code() != code) {
      return ::testing::AssertionFailure()
             << "threw " << ErrorCodeName(error.code()) << ", not " << ErrorCodeName(code)
             << ": " << message;
    }
    for (const std::string& part : parts) {
      if (message.find(part) == std::string::npos) {
        return ::testing::AssertionFailure()
               << "the message lacks \"" << part << "\": " << message;
      }
    }
    return ::testing::AssertionSuccess();
  } catch (const std::exception& error) {
    return ::testing::AssertionFailure()
           << "threw no savedmodel::Error: " << error.what();
  }
  return ::testing::AssertionFailure() << "threw nothing";
}

template <typename T>
std::vector<T> Values(const Tensor& tensor) {
  const T* data = tensor.data<T>();
  return std::vector<T>(data, data + tensor.num_elements());
}

inline Tensor Floats(const std::vector<float>& values) {
  return Tensor::Copy(values.data(), {static_cast<std::int64_t>(values.size())});
}

// Memory of the caller's, as a View wants it.
template <typename T>
class AlignedBuffer {
 public:
  explicit AlignedBuffer(std::initializer_list<T> values) : AlignedBuffer(values.size()) {
    std::copy(values.begin(), values.end(), data_);
  }
  explicit AlignedBuffer(std::size_t size)
      : size_(size),
        data_(static_cast<T*>(
            ::operator new(size * sizeof(T), std::align_val_t{kTensorAlignment}))) {
    std::fill_n(data_, size, T());
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() { ::operator delete(data_, std::align_val_t{kTensorAlignment}); }

  T* data() { return data_; }
  T& operator[](std::size_t index) { return data_[index]; }
  std::vector<T> values() const { return std::vector<T>(data_, data_ + size_); }

 private:
  std::size_t size_;
  T* data_;
};

inline std::string DigitsPath() { return SAVEDMODEL_DIGITS_DIR; }
// What tests/cpp/data/make_module.py wrote.
inline std::string ModulePath() { return SAVEDMODEL_MODULE_DIR; }

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name =
        (std::filesystem::temp_directory_path() / "savedmodel_test_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

  std::string Copy(const std::string& model, const std::string& name) const {
    std::filesystem::copy(model, path_ / name, std::filesystem::copy_options::recursive);
    return (path_ / name).string();
  }

 private:
  std::filesystem::path path_;
};

// Tests on models that tests/models/generate.py wrote, skipped where it has not run.
class GeneratedModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("SAVEDMODEL_TEST_MODELS");
    if (folder == nullptr || *folder == '\0') {
      GTEST_SKIP() << "SAVEDMODEL_TEST_MODELS does not name a folder that "
                      "tests/models/generate.py has written";
    }
    folder_ = folder;
  }

  std::string Path(const std::string& name) const {
    return folder_ + "/" + name + "/saved_model";
  }
  Model Load(const std::string& name) const { return Model::Load(Path(name)); }

 private:
  std::string folder_;
};

}  // namespace savedmodel::testing

#endif  // SAVEDMODEL_TESTS_CPP_TESTING_H_
