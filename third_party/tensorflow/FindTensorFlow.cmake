# Finds the C++ headers and libraries inside an installed `tensorflow*` wheel.
#
# The wheel is located through the Python interpreter (CMake's Python::Interpreter) without
# importing it, or taken from SAVEDMODEL_TENSORFLOW_DIR, the wheel's `tensorflow` folder.
#
# Defines: TensorFlow_FOUND, TensorFlow_VERSION, TensorFlow_DIR_PATH (that folder), and the
# imported targets
#   TensorFlow::headers    include folder (as system headers) and compile definitions
#   TensorFlow::framework  libtensorflow_framework.so.2, with the headers
# libtensorflow_cc.so.2 has no target: it is loaded at run time, when a model is.

set(SAVEDMODEL_TENSORFLOW_DIR "" CACHE PATH "The `tensorflow` folder of an installed wheel")

set(TensorFlow_DIR_PATH "${SAVEDMODEL_TENSORFLOW_DIR}")
if(NOT TensorFlow_DIR_PATH)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" "${CMAKE_CURRENT_LIST_DIR}/find_tensorflow.py"
    OUTPUT_VARIABLE TensorFlow_DIR_PATH OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
if(TensorFlow_DIR_PATH)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" "${CMAKE_CURRENT_LIST_DIR}/find_tensorflow.py" --version
            "${TensorFlow_DIR_PATH}"
    OUTPUT_VARIABLE TensorFlow_VERSION OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()

find_path(TensorFlow_INCLUDE_DIR tensorflow/core/public/session.h
          PATHS "${TensorFlow_DIR_PATH}/include" NO_DEFAULT_PATH NO_CACHE)
find_file(TensorFlow_FRAMEWORK_LIBRARY libtensorflow_framework.so.2
          PATHS "${TensorFlow_DIR_PATH}" NO_DEFAULT_PATH NO_CACHE)
find_file(TensorFlow_CC_LIBRARY libtensorflow_cc.so.2
          PATHS "${TensorFlow_DIR_PATH}" NO_DEFAULT_PATH NO_CACHE)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorFlow
  REQUIRED_VARS TensorFlow_DIR_PATH TensorFlow_INCLUDE_DIR TensorFlow_FRAMEWORK_LIBRARY
                TensorFlow_CC_LIBRARY TensorFlow_VERSION
  VERSION_VAR TensorFlow_VERSION
  REASON_FAILURE_MESSAGE
    "no TensorFlow wheel for ${Python_EXECUTABLE}: pip install tensorflow-cpu (or tensorflow)")

if(TensorFlow_FOUND AND NOT TARGET TensorFlow::framework)
  add_library(TensorFlow::headers INTERFACE IMPORTED)
  set_target_properties(TensorFlow::headers PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${TensorFlow_INCLUDE_DIR}"
    # What the wheel itself was compiled with; both change the layout of what crosses over.
    INTERFACE_COMPILE_DEFINITIONS "_GLIBCXX_USE_CXX11_ABI=1;EIGEN_MAX_ALIGN_BYTES=64;NDEBUG")
  add_library(TensorFlow::framework SHARED IMPORTED)
  set_target_properties(TensorFlow::framework PROPERTIES
    IMPORTED_LOCATION "${TensorFlow_FRAMEWORK_LIBRARY}"
    INTERFACE_LINK_LIBRARIES TensorFlow::headers)
endif()
