#ifndef SAVEDMODEL_EXPORT_H_
#define SAVEDMODEL_EXPORT_H_

// Everything else in the library is hidden.
#define SAVEDMODEL_EXPORT __attribute__((visibility("default")))

#endif  // SAVEDMODEL_EXPORT_H_
